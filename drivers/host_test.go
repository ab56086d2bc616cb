package drivers_test

// hostHelper, as the first argument, makes the test binary a program that makes
// a sandbox and waits to be killed.
const hostHelper = "drivers-test-host"

func helpHost([]string) {}
