package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// flags is the command line.
type flags struct {
	config     string
	addr       string
	host       string
	port       int
	tokensFile string
	dataDir    string
	logLevel   *slog.Level
	insecure   bool
	validate   bool
	showConfig bool
	version    bool
}

const usage = `Usage: httpserver [flags]

Serves tools over HTTP. Without --config it serves every backend that needs
nothing configured.

  -c, --config FILE     configuration file (docs/configuration.md)
      --addr HOST:PORT  address to listen on; port 0 takes a free one
      --host HOST       its host alone
  -p, --port PORT       its port alone
      --tokens-file F   file of tokens, one a line: token [worker prefix]
      --data-dir DIR    where workspaces live
      --log-level L     DEBUG, INFO, WARNING or ERROR
      --insecure        serve other machines without tokens all the same
      --validate        check the configuration on this host and exit: 0 no
                        errors, 1 errors, 2 the file cannot be read
      --show-config     say what the configuration switches on and exit
      --version         print the version and exit

Flags win over the file, which wins over the default address 127.0.0.1:18890.
`

// parseFlags reads the command line. flag.ErrHelp means that help was asked
// for and printed.
func parseFlags(args []string, help io.Writer) (flags, error) {
	var f flags
	fs := flag.NewFlagSet("httpserver", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	for _, name := range []string{"c", "config"} {
		fs.StringVar(&f.config, name, "", "")
	}
	for _, name := range []string{"p", "port"} {
		fs.IntVar(&f.port, name, filePort, "")
	}
	fs.StringVar(&f.addr, "addr", "", "")
	fs.StringVar(&f.host, "host", "", "")
	fs.StringVar(&f.tokensFile, "tokens-file", "", "")
	fs.StringVar(&f.dataDir, "data-dir", "", "")
	fs.BoolVar(&f.insecure, "insecure", false, "")
	fs.BoolVar(&f.validate, "validate", false, "")
	fs.BoolVar(&f.showConfig, "show-config", false, "")
	fs.BoolVar(&f.version, "version", false, "")
	fs.Func("log-level", "", func(s string) error {
		var level slog.Level
		if strings.EqualFold(s, "warning") {
			s = "warn"
		}
		if err := level.UnmarshalText([]byte(s)); err != nil {
			return errors.New("expected DEBUG, INFO, WARNING or ERROR")
		}
		f.logLevel = &level
		return nil
	})
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(help, usage)
		}
		return f, err
	}
	switch {
	case fs.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case f.addr != "" && (f.host != "" || f.port != filePort):
		return f, errors.New("--addr goes without --host and --port")
	case f.validate && f.dataDir != "":
		return f, errors.New("--validate looks at the file's server.data_dir: leave --data-dir out")
	case f.port != filePort && (f.port < 0 || f.port > 65535):
		return f, fmt.Errorf("--port %d: expected a port from 0 to 65535; 0 takes a free one", f.port)
	}
	if f.addr != "" {
		if _, _, err := net.SplitHostPort(f.addr); err != nil {
			return f, fmt.Errorf("--addr %q: expected HOST:PORT, such as 127.0.0.1:18890", f.addr)
		}
	}
	if rest, ok := strings.CutPrefix(f.config, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return f, fmt.Errorf("--config %s: %w", f.config, err)
		}
		f.config = filepath.Join(home, rest)
	}
	return f, nil
}

// filePort is the port of who gave none: the configuration's.
const filePort = -1 << 31

// address returns where to listen, given what the file says.
func (f flags) address(file string) string {
	if f.addr != "" {
		return f.addr
	}
	host, port, err := net.SplitHostPort(file)
	if err != nil { // the file's reader put it together
		return file
	}
	if f.host != "" {
		host = f.host
	}
	if f.port != filePort {
		port = strconv.Itoa(f.port)
	}
	return net.JoinHostPort(host, port)
}
