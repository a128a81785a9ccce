package shim

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

//go:embed all:embedded
var embedded embed.FS

// Binaries is where shims come from.
type Binaries interface {
	// For returns the shim for a platform in Go's words ("linux", "arm64") and
	// the hex SHA-256 of it.
	For(goos, goarch string) (data []byte, hash string, err error)
}

// Default is the shims built into this program; without any, a file
// sloth-shim beside it, or the one that $SLOTH_SHIM names, for this machine's
// own platform.
func Default() Binaries { return &builtIn{ready: map[string]*binary{}} }

type builtIn struct {
	mu    sync.Mutex
	ready map[string]*binary
}

type binary struct {
	data []byte
	hash string
}

// maxRaw bounds what a shim unpacks to.
const maxRaw = 64 << 20

func (b *builtIn) For(goos, goarch string) ([]byte, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	platform := goos + "-" + goarch
	if r := b.ready[platform]; r != nil {
		return r.data, r.hash, nil
	}
	data, err := load(goos, goarch)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(data)
	r := &binary{data, hex.EncodeToString(sum[:])}
	b.ready[platform] = r
	return r.data, r.hash, nil
}

func load(goos, goarch string) ([]byte, error) {
	packed, err := embedded.ReadFile("embedded/shim-" + goos + "-" + goarch + ".zst")
	if err == nil {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxRaw), zstd.WithDecoderConcurrency(0))
		if err != nil {
			return nil, err
		}
		defer dec.Close()
		return dec.DecodeAll(packed, nil)
	}
	if goos == runtime.GOOS && goarch == runtime.GOARCH {
		if data, err := beside(); !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	if have := Platforms(); len(have) > 0 {
		return nil, fmt.Errorf("there is no shim for %s/%s; there is one for %s", goos, goarch, strings.Join(have, ", "))
	}
	return nil, errors.New("this sloth was built without shims: build it with `make build`, or put a sloth-shim beside it (go build ./cmd/sloth-shim)")
}

func beside() ([]byte, error) {
	path := os.Getenv("SLOTH_SHIM")
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(filepath.Dir(self), "sloth-shim")
	}
	return os.ReadFile(path)
}

// Platforms lists what is built in, as os/arch.
func Platforms() []string {
	entries, err := embedded.ReadDir("embedded")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if p, ok := strings.CutSuffix(e.Name(), ".zst"); ok {
			out = append(out, strings.Replace(strings.TrimPrefix(p, "shim-"), "-", "/", 1))
		}
	}
	slices.Sort(out)
	return out
}

// platform turns uname's words into Go's.
func platform(sysname, machine string) (goos, goarch string, err error) {
	goos = map[string]string{"Linux": "linux", "Darwin": "darwin"}[sysname]
	switch machine {
	case "x86_64", "amd64":
		goarch = "amd64"
	case "aarch64", "arm64":
		goarch = "arm64"
	case "i386", "i486", "i586", "i686":
		goarch = "386"
	case "riscv64":
		goarch = "riscv64"
	default:
		if strings.HasPrefix(machine, "armv6") || strings.HasPrefix(machine, "armv7") || strings.HasPrefix(machine, "armv8") {
			goarch = "arm"
		}
	}
	if goos == "" || goarch == "" {
		return "", "", fmt.Errorf("the host is a %.40s %.40s; sloth runs on Linux (x86_64, aarch64, armv6 and later, i386, riscv64) and macOS", sysname, machine)
	}
	return goos, goarch, nil
}
