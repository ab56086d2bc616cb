package client

import (
	"context"

	"github.com/agentflow-go/sandbox"
)

var _ sandbox.Forker = (*Client)(nil)

// ForkWorkspace makes the worker to with a copy of the workspace of the worker
// from; see [sandbox.Sandbox.ForkWorkspace]. The server has limits of its own:
// MaxBytes and MaxFiles cannot be sent. The token must be bound to no prefix.
func (c *Client) ForkWorkspace(ctx context.Context, from, to string, o sandbox.ForkOptions) (sandbox.ForkInfo, error) {
	if o.MaxBytes != 0 || o.MaxFiles != 0 {
		return sandbox.ForkInfo{}, sandbox.Errorf(sandbox.ErrInvalidInput, "ForkOptions.MaxBytes and MaxFiles cannot be sent to a server: leave them 0")
	}
	body := struct {
		WorkerID string `json:"worker_id"`
		To       string `json:"to"`
		Snapshot string `json:"snapshot,omitempty"`
	}{from, to, o.Snapshot}
	a, err := c.post(ctx, "/api/v1/workspace/fork", body)
	if err != nil {
		return sandbox.ForkInfo{}, err
	}
	var data struct {
		Size    int64 `json:"size"`
		Files   int   `json:"files"`
		Skipped int   `json:"skipped"`
	}
	if err := a.decodeData(&data); err != nil {
		return sandbox.ForkInfo{}, err
	}
	return sandbox.ForkInfo{Size: data.Size, Files: data.Files, Skipped: data.Skipped}, nil
}
