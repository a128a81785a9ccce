package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// verify looks at the files before Badger does. Badger answers a broken table
// with a panic in a goroutine of its own, where nobody can catch it, or with a
// list that ends early; and without its manifest it deletes every table. verify
// returns how many tables there are, and whether there is nothing at all.
func (s *Store) verify() (tables int, fresh bool, err error) {
	names, err := os.ReadDir(s.opt.Dir)
	if err != nil || len(names) == 0 {
		return 0, true, err
	}
	for _, n := range names {
		if ext := filepath.Ext(n.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		// A process killed between making such a file and giving it a size
		// leaves it empty, and Badger would refuse it for ever.
		info, err := n.Info()
		if err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(s.opt.Dir, n.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, false, err
		}
	}
	listed, err := s.manifest()
	if errors.Is(err, fs.ErrNotExist) {
		for _, n := range names {
			if filepath.Ext(n.Name()) == ".sst" {
				return 0, false, errors.New("its MANIFEST is missing")
			}
		}
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	// Tables that are not listed are leftovers, whole or not.
	for id := range listed.Tables {
		path := table.NewFilename(id, s.opt.Dir)
		if err := verifyTable(path); err != nil {
			return 0, false, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return len(listed.Tables), false, nil
}

func (s *Store) manifest() (badger.Manifest, error) {
	f, err := os.Open(filepath.Join(s.opt.Dir, badger.ManifestFilename))
	if err != nil {
		return badger.Manifest{}, err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, 0, s.options())
	return m, err
}

var (
	errIndex = errors.New("its index is broken")
	errBlock = errors.New("the checksum of its content is wrong")
)

// verifyTable checks all checksums of a table.
func verifyTable(path string) (err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	// The index has a checksum; one that is wrong all the same was written so.
	defer func() {
		if recover() != nil {
			err = errIndex
		}
	}()
	index, _, ok := checked(data)
	if !ok || len(index) == 0 {
		return errIndex
	}
	t := fb.GetRootAsTableIndex(index, 0)
	var b fb.BlockOffset
	for i := range t.OffsetsLength() {
		if !t.Offsets(&b, i) {
			return errIndex
		}
		if !verifyBlock(data[b.Offset():][:b.Len()]) {
			return errBlock
		}
	}
	return nil
}

// checked takes a table's index off its end: index, its length, a checksum,
// the length of that.
func checked(data []byte) (index, rest []byte, ok bool) {
	sum, rest, ok := tail(data)
	if !ok {
		return nil, nil, false
	}
	index, rest, ok = tail(rest)
	return index, rest, ok && matches(index, sum)
}

// verifyBlock checks a block: its data, a checksum, the length of that.
func verifyBlock(block []byte) bool {
	sum, data, ok := tail(block)
	return ok && matches(data, sum)
}

func matches(data, sum []byte) bool {
	var want pb.Checksum
	if proto.Unmarshal(sum, &want) != nil {
		return false
	}
	if want.Algo != pb.Checksum_CRC32C && want.Algo != pb.Checksum_XXHash64 {
		return false // y.VerifyChecksum panics
	}
	return y.VerifyChecksum(data, &want) == nil
}

// tail takes a piece off the end of data, where its length stands behind it.
func tail(data []byte) (piece, rest []byte, ok bool) {
	const length = 4
	if len(data) < length {
		return nil, nil, false
	}
	end := len(data) - length
	n := uint64(binary.BigEndian.Uint32(data[end:]))
	if n > uint64(end) {
		return nil, nil, false
	}
	return data[end-int(n) : end], data[:end-int(n)], true
}
