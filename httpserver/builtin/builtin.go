// Package builtin collects what a configuration file may name out of the box:
// this module's backends, tools and confinement drivers. A program that embeds
// the server adds its own components to the list.
package builtin

import (
	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/backends/bash"
	"github.com/agentflow-go/sandbox/backends/browser"
	"github.com/agentflow-go/sandbox/backends/code"
	"github.com/agentflow-go/sandbox/backends/file"
	"github.com/agentflow-go/sandbox/backends/workspace"
	"github.com/agentflow-go/sandbox/drivers/docker"
	"github.com/agentflow-go/sandbox/drivers/gvisor"
)

// Components returns the components of this module, in the order in which a
// server without configuration file registers them.
func Components() []sandbox.Component {
	return []sandbox.Component{
		bash.Component(), browser.Component(), code.Component(), file.Component(), workspace.Component(),
		docker.Component(), gvisor.Component(),
	}
}
