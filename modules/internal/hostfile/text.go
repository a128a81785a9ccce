package hostfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"
	"unicode/utf8"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

const (
	// maxShown is the size up to which the texts of a diff are kept.
	maxShown = 1 << 20
	// MaxEdited is the size up to which a file is held in memory to be edited.
	MaxEdited = 64 << 20
)

// isText reports whether data can be shown line by line.
func isText(data []byte) bool {
	return bytes.IndexByte(data, 0) < 0 && utf8.Valid(data)
}

// Read returns a whole file of at most MaxEdited bytes.
func Read(v facts.Viewer, path string) ([]byte, error) {
	f, err := v.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxEdited+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxEdited {
		return nil, fmt.Errorf("%s is larger than %d MB", path, MaxEdited>>20)
	}
	return data, nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// Hash returns the hex SHA-256 of a file, in constant memory.
func Hash(v facts.Viewer, path string) (string, error) {
	f, err := v.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	// The wrapping keeps io.CopyBuffer from asking f to write itself.
	if _, err := io.CopyBuffer(sum, struct{ io.Reader }{f}, *buf); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// HashOf is Hash of bytes.
func HashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// digest stands for content that is not shown.
func digest(size int64, hash string) string {
	if len(hash) > 12 {
		hash = hash[:12]
	}
	return fmt.Sprintf("%d bytes, sha256 %s", size, hash)
}

// Missing reports whether err says that something is not there.
func Missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// NotFolder reports whether err says that a name before the last is no folder,
// so that nothing can be there.
func NotFolder(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// OtherDevice reports whether err says that a rename would cross file systems.
func OtherDevice(err error) bool { return errors.Is(err, syscall.EXDEV) }

// Unsure reports whether v shows a plan in which a tool was only planned that
// may have made what is missing now.
func Unsure(v facts.Viewer) bool {
	if !v.Planned() {
		return false
	}
	_, ok := modules.Noted(v, modules.NotedTool)
	return ok
}
