//go:build !linux

package workspace

// thisMachine returns nothing: jails, whose left-overs matter, are Linux's.
func thisMachine() machine { return machine{} }

func sharedFS(string) bool { return false }
