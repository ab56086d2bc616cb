package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/agentflow-go/sandbox"
	"github.com/agentflow-go/sandbox/httpserver/api"
)

// banner says where the server is, how to try it and what confines it.
func (s *running) banner(ctx context.Context, w io.Writer, addr net.Addr, keys []api.Token) error {
	st, err := s.sb.Status(ctx)
	if err != nil {
		return err
	}
	tools, err := s.sb.Tools(ctx, sandbox.ToolFilter{})
	if err != nil {
		return err
	}
	base := "http://" + reachable(addr)
	fmt.Fprintf(w, "Serving %s on %s\n", count(st.Tools, "tool"), base)
	if st.Level == "none" {
		fmt.Fprintln(w, "Confinement: NONE: what workers run can do all that this program can")
	} else {
		fmt.Fprintf(w, "Confinement: %s\n", st.Level)
		for _, limit := range st.Unenforced {
			fmt.Fprintf(w, "  not enforced: %s\n", limit)
		}
	}
	auth := ""
	if len(keys) > 0 {
		auth = ` -H "Authorization: Bearer $TOKEN"`
	}
	fmt.Fprintf(w, "Try it:\n  %s\n", tryIt(base, auth, tools))
	return nil
}

// tryIt is a command to paste: it runs one in a jail where there is a shell.
func tryIt(base, auth string, tools []sandbox.ToolInfo) string {
	for _, t := range tools {
		if t.FullName == "bash:run" {
			return "curl -s" + auth + " -H 'Content-Type: application/json' " + base + "/api/v1/execute \\\n" +
				`    -d '{"worker_id": "me", "action": "bash:run", "params": {"command": "id; pwd; ls -la /"}}'`
		}
	}
	return "curl -s" + auth + " " + base + "/api/v1/tools"
}

// reachable turns the address of a listener into one that a program on this
// machine can connect to.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.String()
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}
