//go:build !linux

package gvisor

import "github.com/agentflow-go/sandbox/internal/jail"

type kernel struct{ name string }

func newKernel(name string, _ Config) jail.Driver { return kernel{name} }

// Name implements [jail.Driver].
func (k kernel) Name() string { return k.name }
