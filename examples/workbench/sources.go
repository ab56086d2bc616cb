package main

// What the worker writes. The mean has a mistake in it.
const (
	module = `"""The mean."""


def mean(values):
    values = list(values)
    return sum(values) / (len(values) + 1)
`

	test = `import unittest

from stats.mean import mean


class MeanTest(unittest.TestCase):
    def test_two(self):
        self.assertEqual(mean([1, 3]), 2)


if __name__ == '__main__':
    unittest.main()
`

	// fetch asks the server in the shell, once it listens; the call's own limit ends
	// the wait for one that never does.
	fetch = `import time, urllib.error, urllib.request
while True:
    try:
        with urllib.request.urlopen('http://127.0.0.1:8000/means.json') as r:
            fetched = json.load(r)
        break
    except urllib.error.URLError:
        time.sleep(0.02)
fetched == means`
)
