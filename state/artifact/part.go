package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
)

// A part is a file on its way, in pieces of any order.

// partName does not depend on what a host calls things.
func partName(a Artifact) string {
	sum := sha256.Sum256([]byte(a.Run + "\x00" + a.Host + "\x00" + a.Task + "\x00" + a.Name + "\x00" + a.Hash))
	return "parts/" + hex.EncodeToString(sum[:])
}

// Piece writes a part of a file on its way. Name, Hash and Size of a are what
// was announced.
func (s *Store) Piece(a Artifact, offset int64, data []byte) error {
	if err := s.announced(a); err != nil {
		return err
	}
	if offset < 0 || offset > a.Size-int64(len(data)) {
		return fmt.Errorf("artifact %s: a part at %d is not within its %d bytes", a.Name, offset, a.Size)
	}
	f, err := s.root.OpenFile(partName(a), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, offset)
	return errors.Join(err, f.Close())
}

// Done makes an artifact of a file that has arrived.
func (s *Store) Done(ctx context.Context, a Artifact) (Artifact, error) {
	if err := s.announced(a); err != nil {
		return a, err
	}
	name := partName(a)
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return a, err
	}
	defer f.Close()
	if err := f.Truncate(a.Size); err != nil {
		return a, err
	}
	out, err := s.take(ctx, a, f, name)
	if err != nil {
		_ = s.root.Remove(name) // the first error counts
	}
	return out, err
}

func (s *Store) announced(a Artifact) error {
	if err := CheckName(a.Name); err != nil {
		return err
	}
	if !goodHash.MatchString(a.Hash) || a.Size < 0 {
		return fmt.Errorf("artifact %s: it was announced with the hash %.70q and %d bytes", a.Name, a.Hash, a.Size)
	}
	return nil
}
