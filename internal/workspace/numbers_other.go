//go:build !linux

package workspace

// openNumbers opens the numbers of one directory of lock files.
func openNumbers(path string) (numbers, error) { return openLockFiles(path) }
