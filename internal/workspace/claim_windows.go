package workspace

import "os"

// posixModes says that permission bits mean something: here access lists do,
// and a directory below the user's own has those of its parent.
const posixModes = false

func ours(os.FileInfo) bool { return true }

func trusted(os.FileInfo) bool { return true }
