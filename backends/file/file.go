package file

import (
	"encoding/json"
	"fmt"

	"github.com/agentflow-go/sandbox"
)

// Config configures the backend. The zero value is useful.
type Config struct {
	Name        string // of the backend; "": file
	Description string // "": a standard text
	MaxSessions int    // open at once; 0: no limit
	// MaxBytes is how much of a file a read returns that does not say; 0:
	// 256 KiB. It is the default of the sessions' key max_bytes.
	MaxBytes int
}

// settings are a session's configuration.
type settings struct {
	MaxBytes int `json:"max_bytes,omitzero"`
}

const (
	defaultBytes = 256 << 10
	maxBytes     = 16 << 20 // of a file in one result
)

// check fills in defaults and refuses what makes no sense.
func (c *settings) check() error {
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultBytes
	}
	return within("max_bytes", c.MaxBytes, 1, maxBytes)
}

// within checks a number of the input.
func within(name string, n, low, high int) error {
	if n < low || n > high {
		return sandbox.Errorf(sandbox.ErrInvalidInput, "/%s: %d; give %d to %d", name, n, low, high)
	}
	return nil
}

// orDefault checks an optional number of the input; 0 stands for def.
func orDefault(name string, n, def, high int) (int, error) {
	if n == 0 {
		return def, nil
	}
	return n, within(name, n, 1, high)
}

// Tools are the typed handles of the tools.
type Tools struct {
	Read   *sandbox.Tool[ReadInput, ReadOutput]
	Write  *sandbox.Tool[WriteInput, WriteOutput]
	Append *sandbox.Tool[WriteInput, WriteOutput]
	Edit   *sandbox.Tool[EditInput, EditOutput]
	List   *sandbox.Tool[ListInput, ListOutput]
	Tree   *sandbox.Tool[ListInput, ListOutput]
	Stat   *sandbox.Tool[StatInput, StatOutput]
	Mkdir  *sandbox.Tool[MkdirInput, MkdirOutput]
	Delete *sandbox.Tool[DeleteInput, DeleteOutput]
	Move   *sandbox.Tool[MoveInput, MoveOutput]
	Copy   *sandbox.Tool[MoveInput, MoveOutput]
	Glob   *sandbox.Tool[GlobInput, GlobOutput]
	Grep   *sandbox.Tool[GrepInput, GrepOutput]
}

// Register adds the backend and its tools to r. Faults are recorded in r.
func Register(r *sandbox.Registry, cfg Config) Tools {
	if cfg.Name == "" {
		cfg.Name = "file"
	}
	if cfg.Description == "" {
		cfg.Description = "The files of the workspace: read, write, edit, search and arrange them."
	}
	defaults, err := json.Marshal(settings{MaxBytes: cfg.MaxBytes})
	if err != nil {
		panic(fmt.Sprintf("file: encode the configuration: %v", err)) // a number: cannot happen
	}
	b := sandbox.AddBackend(r, sandbox.BackendSpec{
		Name: cfg.Name, Description: cfg.Description, Config: defaults, MaxSessions: cfg.MaxSessions,
	}, backend{})
	reads := func(name, text string) sandbox.ToolSpec {
		return sandbox.ToolSpec{Name: name, Description: text, ReadOnly: true, Idempotent: true}
	}
	return Tools{
		Read:   sandbox.AddSessionTool(b, reads("read", readText), sandbox.Method((*Session).Read)),
		Write:  sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "write", Description: writeText, Idempotent: true}, sandbox.Method((*Session).Write)),
		Append: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "append", Description: appendText}, sandbox.Method((*Session).Append)),
		Edit:   sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "edit", Description: editText}, sandbox.Method((*Session).Edit)),
		List:   sandbox.AddSessionTool(b, reads("list", listText), sandbox.Method((*Session).List)),
		Tree:   sandbox.AddSessionTool(b, reads("tree", treeText), sandbox.Method((*Session).Tree)),
		Stat:   sandbox.AddSessionTool(b, reads("stat", statText), sandbox.Method((*Session).Stat)),
		Mkdir:  sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "mkdir", Description: mkdirText, Idempotent: true}, sandbox.Method((*Session).Mkdir)),
		Delete: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "delete", Description: deleteText}, sandbox.Method((*Session).Delete)),
		Move:   sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "move", Description: moveText}, sandbox.Method((*Session).Move)),
		Copy:   sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "copy", Description: copyText}, sandbox.Method((*Session).Copy)),
		Glob:   sandbox.AddSessionTool(b, reads("glob", globText), sandbox.Method((*Session).Glob)),
		Grep:   sandbox.AddSessionTool(b, reads("grep", grepText), sandbox.Method((*Session).Grep)),
	}
}

// What models read.
const (
	readText = "Read a file of the workspace, whole or from start_line to end_line (counted from 1). Text comes exactly as it is, line ends included. " +
		"If truncated is true, go on with start_line set to next_line, or with offset set to next_offset. Use encoding base64 for anything that is not text."
	writeText  = "Write a file, replacing what was there as a whole and at once. Directories that are missing are made. To change a part of a file use edit."
	appendText = "Add to the end of a file, which is made if it is not there. No line end is added: give it with the content."
	editText   = "Change a file by replacing exact pieces of text, each given with enough around it to occur only once (or with all true). " +
		"The edits apply in order, each to the result of those before; if one does not fit, none is made and the file stays as it is."
	listText   = "List a directory: path, type, size, time of change and mode of what is in it, sorted by name. With depth, also what is below. Names that begin with a dot only with hidden true."
	treeText   = "List a directory with what is below, three levels deep unless depth says otherwise."
	statText   = "Describe one file, directory or symbolic link."
	mkdirText  = "Make a directory, with those above it. It is no error if it is there."
	deleteText = "Delete a file, a symbolic link or an empty directory; with recursive true a directory with all that is in it."
	moveText   = "Move or rename a file or directory. to is its new path, not the directory that it goes into; what exists there is only replaced with overwrite true."
	copyText   = "Copy a file, or a directory with all that is in it. to is the path of the copy; a file that exists there is only replaced with overwrite true."
	globText   = "Find files and directories by name: * and ? within a name, ** over directories, [a-z], {a,b}. The pattern is relative to path. Names that begin with a dot are only found by a pattern that says so."
	grepText   = "Search the text of files for a regular expression (RE2 syntax: no look-around, no back-references) and return the lines that match, with their numbers. " +
		"path is a file or directory; glob chooses files by name, such as *.py or src/**/*.ts. Binary files and .git are left out."
)
