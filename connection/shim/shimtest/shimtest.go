// Package shimtest builds the shim for tests that start it on real hosts.
package shimtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/sloth-runner/sloth/connection/shim"
)

// Binaries are the shim of this source tree, for this machine's platform only.
// It is built once in a process.
func Binaries(t testing.TB) shim.Binaries {
	t.Helper()
	b, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type one struct {
	data []byte
	hash string
}

func (o one) For(goos, goarch string) ([]byte, string, error) {
	if goos != runtime.GOOS || goarch != runtime.GOARCH {
		return nil, "", errors.New("the tests have no shim for " + goos + "/" + goarch)
	}
	return o.data, o.hash, nil
}

var build = sync.OnceValues(func() (one, error) {
	dir, err := os.MkdirTemp("", "shimtest-")
	if err != nil {
		return one{}, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sloth-shim")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "github.com/sloth-runner/sloth/cmd/sloth-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return one{}, fmt.Errorf("build the shim: %w: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return one{}, err
	}
	sum := sha256.Sum256(data)
	return one{data, hex.EncodeToString(sum[:])}, nil
})
