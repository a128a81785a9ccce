package shim

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/connection/shim/packed"
)

//go:embed all:embedded
var embedded embed.FS

// Binaries is where shims come from.
type Binaries interface {
	// For returns the shim for a platform in Go's words ("linux", "arm64") and
	// the hex SHA-256 of it. An error says what to do about it.
	For(goos, goarch string) (data []byte, hash string, err error)
}

// Hasher is implemented by Binaries that know the hash of a shim without having
// its content at hand. Hosts are asked by hash, and few lack the content.
type Hasher interface {
	Hash(goos, goarch string) (string, error)
}

// hashOf returns the hash alone.
func hashOf(b Binaries, goos, goarch string) (string, error) {
	if h, ok := b.(Hasher); ok {
		return h.Hash(goos, goarch)
	}
	_, hash, err := b.For(goos, goarch)
	return hash, err
}

// Default is, for this machine's own platform, the program that $SLOTH_SHIM
// names; else the shims built into this program; else a file sloth-shim beside
// it.
func Default() Binaries {
	if os.Getenv("SLOTH_SHIM") != "" {
		return either{Beside(), Embedded()}
	}
	return either{Embedded(), Beside()}
}

// errNone says that a source has nothing for a platform.
var errNone = errors.New("no shim")

type either []Binaries

func (e either) For(goos, goarch string) ([]byte, string, error) {
	for _, b := range e {
		if data, hash, err := b.For(goos, goarch); !errors.Is(err, errNone) {
			return data, hash, err
		}
	}
	return nil, "", lacking(goos, goarch)
}

func (e either) Hash(goos, goarch string) (string, error) {
	for _, b := range e {
		if hash, err := hashOf(b, goos, goarch); !errors.Is(err, errNone) {
			return hash, err
		}
	}
	return "", lacking(goos, goarch)
}

func lacking(goos, goarch string) error {
	if have := Platforms(); len(have) > 0 {
		return fmt.Errorf("this sloth has no shim for %s/%s, only for %s: build it with `make build`", goos, goarch, strings.Join(have, ", "))
	}
	return fmt.Errorf("this sloth was built without shims: build it with `make build`, or put a sloth-shim for %s/%s beside it (go build ./cmd/sloth-shim)", goos, goarch)
}

// Embedded is the shims built into this program.
func Embedded() Binaries { return builtIn{} }

type builtIn struct{}

// packed gives the packed shim, or its first n bytes: nearly always its hash is
// all that is wanted of 4 MB.
func (builtIn) packed(goos, goarch string, n int64) (name string, p []byte, hash string, err error) {
	name = "embedded/shim-" + goos + "-" + goarch + ".zst"
	f, err := embedded.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return name, nil, "", errNone
	}
	if err == nil {
		p, err = io.ReadAll(io.LimitReader(f, n))
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		hash, err = packed.Hash(p)
	}
	if err != nil {
		return name, nil, "", fmt.Errorf("the embedded %s: %w: build sloth with `make build`", filepath.Base(name), err)
	}
	return name, p, hash, nil
}

func (b builtIn) Hash(goos, goarch string) (string, error) {
	_, _, hash, err := b.packed(goos, goarch, packed.HeadSize)
	return hash, err
}

// unpacked holds a func() ([]byte, error) by name: hundreds of hosts may lack
// the same shim at the same moment.
var unpacked sync.Map

func (b builtIn) For(goos, goarch string) ([]byte, string, error) {
	name, p, hash, err := b.packed(goos, goarch, math.MaxInt64)
	if err != nil {
		return nil, "", err
	}
	f, _ := unpacked.LoadOrStore(name, sync.OnceValues(func() ([]byte, error) { return packed.Unpack(p) }))
	data, err := f.(func() ([]byte, error))()
	return data, hash, err
}

// Beside is the program that $SLOTH_SHIM names, else a file sloth-shim beside
// this program, for this machine's own platform.
func Beside() Binaries { return beside{sync.OnceValues(readBeside)} }

type beside struct {
	read func() (shimFile, error)
}

type shimFile struct {
	data []byte
	hash string
}

func readBeside() (shimFile, error) {
	path := os.Getenv("SLOTH_SHIM")
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return shimFile{}, err
		}
		path = filepath.Join(filepath.Dir(self), "sloth-shim")
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("SLOTH_SHIM") == "" {
		return shimFile{}, errNone
	}
	if err != nil {
		return shimFile{}, fmt.Errorf("$SLOTH_SHIM: %w", err)
	}
	sum := sha256.Sum256(data)
	return shimFile{data, hex.EncodeToString(sum[:])}, nil
}

func (b beside) For(goos, goarch string) ([]byte, string, error) {
	if goos != runtime.GOOS || goarch != runtime.GOARCH {
		return nil, "", errNone
	}
	f, err := b.read()
	return f.data, f.hash, err
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

// platform turns uname's words into Go's. A shim needs nothing of the userland,
// so the kernel's word is what counts.
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
	if goos == "" || goarch == "" || goos == "darwin" && goarch != "amd64" && goarch != "arm64" {
		return "", "", fmt.Errorf("the host is a %.40q %.40q; sloth runs on Linux (x86_64, aarch64, armv6 and later, i386, riscv64) and macOS (x86_64, arm64)", sysname, machine)
	}
	return goos, goarch, nil
}
