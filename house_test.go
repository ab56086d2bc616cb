package sandbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tests in this file hold the module to its house rules.

const module = "github.com/agentflow-go/sandbox"

// coreModules are all that a program links by importing the root package.
var coreModules = []string{
	"github.com/google/jsonschema-go",
	"golang.org/x/sync",
	"golang.org/x/sys",
}

// withoutExample are the exported functions of the root package that need no
// example, each with the reason.
var withoutExample = map[string]string{
	"NewWorker":     "Sandbox.Worker is it, and httpserver/client shows it with an Executor elsewhere",
	"LoadConfig":    "ParseConfig, from a file",
	"DefaultConfig": "ParseConfig shows what to do with a Config",
}

// mayImport says for each part of the house which parts it may import. A part
// is the first element of a package's path below the module; "" is the root.
// Backends and tools may not import their siblings either.
var mayImport = map[string][]string{
	"internal":    {"internal"},
	"":            {"internal"},
	"backends":    {"", "internal"},
	"tools":       {"", "internal"},
	"drivers":     {"", "internal"},
	"sandboxtest": {"", "internal"},
	"httpserver":  {"", "internal", "backends", "tools", "drivers", "httpserver"},
	"examples":    {"", "backends", "tools", "drivers", "httpserver"},
}

type goPackage struct {
	ImportPath, Name, Doc string
	GoFiles, Imports      []string
}

// goList returns the module's packages.
func goList(t *testing.T) []goPackage {
	t.Helper()
	out := goCommand(t, "list", "-json=ImportPath,Name,Doc,GoFiles,Imports", "./...")
	var pkgs []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out
}

func TestEveryPackageHasADocComment(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t) {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + filepath.Base(p.ImportPath) + " "
		}
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: doc comment is %q, want it to start with %q", p.ImportPath, p.Doc, want)
		}
	}
}

func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	for _, p := range goList(t) {
		from, ok := part(p.ImportPath)
		if !ok || mayImport[from] == nil {
			t.Errorf("%s is in no known part of the house: add it to mayImport and docs/design.md", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			to, ours := part(imp)
			if !ours || slices.Contains(mayImport[from], to) || within(imp, unit(p.ImportPath)) {
				continue
			}
			t.Errorf("%s imports %s: %q may import only %q", p.ImportPath, imp, from, mayImport[from])
		}
	}
}

// part returns the first element of a package's path below the module.
func part(path string) (string, bool) {
	if path == module {
		return "", true
	}
	below, ok := strings.CutPrefix(path, module+"/")
	first, _, _ := strings.Cut(below, "/")
	return first, ok
}

// unit returns the path of the backend, tool or other second-level package
// that a package belongs to.
func unit(path string) string {
	elems := strings.SplitN(strings.TrimPrefix(path, module+"/"), "/", 3)
	return module + "/" + strings.Join(elems[:min(len(elems), 2)], "/")
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func TestTheCoreLinksFewModules(t *testing.T) {
	t.Parallel()
	out := goCommand(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	linked := strings.Fields(string(out))
	slices.Sort(linked)
	linked = slices.DeleteFunc(slices.Compact(linked), func(m string) bool { return m == module })
	if diff := cmp.Diff(coreModules, linked); diff != "" {
		t.Errorf("modules that the root package links (-want +got):\n%s", diff)
	}
}

func TestGoModReplacesNothing(t *testing.T) {
	t.Parallel()
	var mod struct{ Replace, Exclude []any }
	if err := json.Unmarshal(goCommand(t, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	if len(mod.Replace)+len(mod.Exclude) > 0 {
		t.Errorf("go.mod has replace or exclude, which do not apply for those who import the module: %v %v", mod.Replace, mod.Exclude)
	}
}

func TestEveryExportedFunctionHasAnExample(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, module)
	if err != nil {
		t.Fatal(err)
	}
	exempt := maps.Clone(withoutExample)
	funcs := pkg.Funcs
	for _, typ := range pkg.Types {
		funcs = append(funcs, typ.Funcs...)
	}
	for _, f := range funcs {
		switch _, excused := exempt[f.Name]; {
		case len(f.Examples) == 0 && !excused:
			t.Errorf("%s has no example; write Example%[1]s, or exempt it with the reason", f.Name)
		case len(f.Examples) > 0 && excused:
			t.Errorf("%s has an example, and an exemption", f.Name)
		}
		delete(exempt, f.Name)
		for _, e := range f.Examples {
			lines := fset.Position(e.Code.End()).Line - fset.Position(e.Code.Pos()).Line + 1
			if e.Output == "" || lines > 30 {
				t.Errorf("Example%s has %d lines, want at most 30 and an Output comment", e.Name, lines)
			}
		}
	}
	for name := range exempt {
		t.Errorf("%s is exempt, but no function of the package", name)
	}
}

// forbidden in every file of the tree. The patterns and words are written so that
// they do not match themselves. A pattern is tried where one of its words is: it
// alone would take most of a minute under the race detector.
var forbidden = map[string]struct {
	words   []string
	pattern *regexp.Regexp
}{
	"a path of one machine": {[]string{"/w" + "ork/", "/r" + "oot/."}, regexp.MustCompile(`(^|[^A-Za-z0-9_.$/-])/[w]ork/|/[r]oot/\.`)},
	"a registry's host": {[]string{"proxy.g" + "olang", "s" + "um.golang", "registry.n" + "pmjs", "deb.d" + "ebian.org"},
		regexp.MustCompile(`proxy\.[g]olang|[s]um\.golang|registry\.[n]pmjs|deb\.[d]ebian\.org`)},
}

func TestFiles(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != "." {
			return nil // somebody's who works here meanwhile
		}
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == ".cache") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || path == ".git" { // a file in a linked worktree
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return nil // no text
		}
		for what, f := range forbidden {
			if !slices.ContainsFunc(f.words, func(w string) bool { return bytes.Contains(text, []byte(w)) }) {
				continue
			}
			if found := f.pattern.Find(text); found != nil {
				t.Errorf("%s contains %s: %q", path, what, found)
			}
		}
		if n := bytes.Count(text, []byte("\n")); strings.HasSuffix(path, ".go") && n > 500 {
			t.Errorf("%s has %d lines, want at most 500: split it by idea", path, n)
		}
		if strings.HasSuffix(path, "_test.go") && bytes.Contains(text, []byte("time.Sleep")) {
			testSleeps(t, path, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// testSleeps fails if a test sleeps otherwise than in a synctest bubble, where
// sleeping takes no time.
func testSleeps(t *testing.T, path string, src []byte) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, src, 0)
	if err != nil {
		t.Error(err)
		return
	}
	calls := func(c *ast.CallExpr, pkg, name string) bool {
		sel, ok := c.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != name {
			return false
		}
		x, ok := sel.X.(*ast.Ident)
		return ok && x.Name == pkg
	}
	ast.Inspect(f, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		switch {
		case !ok:
		case calls(c, "synctest", "Test"):
			return false // whatever is in there
		case calls(c, "time", "Sleep"):
			t.Errorf("%s sleeps: wait for what happens, or use testing/synctest", fset.Position(c.Pos()))
		}
		return true
	})
}
