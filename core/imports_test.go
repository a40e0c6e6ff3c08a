// Package core_test checks what the packages of core have in common.
package core_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// allowed is what core may import of the standard library: nothing that reads a
// clock, draws a random number, does I/O or talks to the kernel (design §2).
var allowed = map[string]bool{
	"bytes": true, "cmp": true, "crypto/sha256": true, "encoding/binary": true, "errors": true, "fmt": true,
	"hash/crc32": true, "maps": true, "math/bits": true, "slices": true, "sort": true, "strconv": true,
	"strings": true, "sync": true, "sync/atomic": true, "unsafe": true,
}

func TestCoreTouchesNothingOutside(t *testing.T) {
	const module = "github.com/godlm/godlm/"
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		seen++
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			if !allowed[name] && !strings.HasPrefix(name, module+"core/") {
				t.Errorf("%s imports %s", path, name)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine", path)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "fmt" && strings.Contains(n.Sel.Name, "rint") &&
					!strings.HasPrefix(n.Sel.Name, "Sprint") && !strings.HasPrefix(n.Sel.Name, "Append") {
					t.Errorf("%s calls fmt.%s", path, n.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 10 {
		t.Errorf("only %d files looked at", seen)
	}
}
