package sandbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Elsewhere than on Linux there is no confinement, but programs that use a
// client, or fakes, must build. Their types are checked, of what they import the
// declarations only: to compile the standard library twice more takes a minute.
func TestTheCoreBuildsElsewhere(t *testing.T) {
	t.Parallel()
	files := parsedFiles{fset: token.NewFileSet(), byName: map[string]*ast.File{}}
	for _, goos := range []string{"darwin", "windows"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Module", ".", "./httpserver/client", "./httpserver/api")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("GOOS=%s: %v\n%s", goos, err, &stderr)
		}
		checked := map[string]*types.Package{"unsafe": types.Unsafe}
		for dec := json.NewDecoder(bytes.NewReader(out)); ; { // what is imported comes first
			var p listedPackage
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if p.ImportPath == "unsafe" {
				continue
			}
			pkg, errs := files.check(p, checked)
			if p.Module.Path == module {
				for _, err := range errs {
					t.Errorf("GOOS=%s: %v", goos, err)
				}
			}
			checked[p.ImportPath] = pkg
		}
		if checked[module] == nil || checked[module+"/httpserver/api"] == nil {
			t.Errorf("GOOS=%s: the core was not looked at", goos)
		}
	}
}

type listedPackage struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	Module          struct{ Path, GoVersion string }
}

// parsedFiles are source files, many of which are those of several systems.
type parsedFiles struct {
	fset   *token.FileSet
	byName map[string]*ast.File
}

// check returns a package's types and what is wrong with it, which means nothing
// for packages that are not this module's.
func (f parsedFiles) check(p listedPackage, imports map[string]*types.Package) (*types.Package, []error) {
	var errs []error
	var parsed []*ast.File
	for _, name := range p.GoFiles {
		name = filepath.Join(p.Dir, name)
		if f.byName[name] == nil {
			file, err := parser.ParseFile(f.fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, []error{err}
			}
			f.byName[name] = file
		}
		parsed = append(parsed, f.byName[name])
	}
	conf := types.Config{
		IgnoreFuncBodies: p.Module.Path != module,
		Sizes:            types.SizesFor("gc", "amd64"),
		Error:            func(err error) { errs = append(errs, err) },
		Importer: importFrom(func(path string) (*types.Package, error) {
			if mapped := p.ImportMap[path]; mapped != "" {
				path = mapped
			}
			if pkg := imports[path]; pkg != nil {
				return pkg, nil
			}
			return nil, errors.New("not found: " + path)
		}),
	}
	if p.Module.GoVersion != "" {
		conf.GoVersion = "go" + p.Module.GoVersion
	}
	pkg, _ := conf.Check(p.ImportPath, f.fset, parsed, nil) // the errors are in errs
	return pkg, errs
}

type importFrom func(path string) (*types.Package, error)

func (f importFrom) Import(path string) (*types.Package, error) { return f(path) }
