package workspace

import (
	"context"

	"github.com/agentflow-go/sandbox"
)

// Config configures the backend. The zero value is useful.
type Config struct {
	Name        string // of the backend; "": workspace
	Description string // "": a standard text

	// Limits bounds the snapshots of each worker; zero fields are the defaults
	// of [sandbox.SnapshotLimits].
	Limits sandbox.SnapshotLimits
}

// Tools are the typed handles of the tools.
type Tools struct {
	Snapshot *sandbox.Tool[SnapshotInput, SnapshotOutput]
	List     *sandbox.Tool[ListInput, ListOutput]
	Delete   *sandbox.Tool[NameInput, ListOutput]
	Restore  *sandbox.Tool[ChangesInput, ChangesOutput]
	Diff     *sandbox.Tool[ChangesInput, ChangesOutput]
}

// Register adds the backend and its tools to r. Faults are recorded in r.
func Register(r *sandbox.Registry, cfg Config) Tools {
	if cfg.Name == "" {
		cfg.Name = "workspace"
	}
	if cfg.Description == "" {
		cfg.Description = "Snapshots of the workspace: take them, compare, and go back."
	}
	b := sandbox.AddBackend(r, sandbox.BackendSpec{Name: cfg.Name, Description: cfg.Description, Serial: true}, backend{cfg.Limits})
	return Tools{
		Snapshot: sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "snapshot", Description: snapshotText}, sandbox.Method((*Workspace).Snapshot)),
		List:     sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "list", Description: listText, ReadOnly: true}, sandbox.Method((*Workspace).List)),
		Delete:   sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "delete", Description: deleteText}, sandbox.Method((*Workspace).Delete)),
		Restore:  sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "restore", Description: restoreText, Idempotent: true}, sandbox.Method((*Workspace).Restore)),
		Diff:     sandbox.AddSessionTool(b, sandbox.ToolSpec{Name: "diff", Description: diffText, ReadOnly: true}, sandbox.Method((*Workspace).Diff)),
	}
}

// What models read.
const (
	snapshotText = "Save the whole workspace under a name, to compare with or go back to later: before a risky change, or when something works. A name can be used once; delete the old snapshot to use it again. " +
		"size is in bytes, files counts files, links and directories."
	listText    = "List the snapshots of the workspace, the oldest first."
	deleteText  = "Delete a snapshot, which makes room for others, and list those that are left."
	restoreText = "Bring the workspace back to what it was at a snapshot: files made since are removed, files changed or removed since are as they were. What it holds now is lost, unless there is a snapshot of it. " +
		"Programs run on; a shell whose directory was replaced should cd to it again. Returns the paths that were added, changed and removed by that, of whole directories one path with a slash at its end."
	diffText = "Tell what was added, changed and removed in the workspace since a snapshot: paths, of whole directories one with a slash at its end."
)

// backend opens Workspaces.
type backend struct{ limits sandbox.SnapshotLimits }

var _ sandbox.Backend[*Workspace] = backend{}

// Open makes nothing: snapshots are the worker's.
func (b backend) Open(_ context.Context, env sandbox.Env) (*Workspace, error) {
	if err := env.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	return &Workspace{env: env, limits: b.limits}, nil
}

// Close has nothing to do.
func (backend) Close(context.Context, *Workspace) error { return nil }
