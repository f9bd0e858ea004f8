package bulk

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// digest is what the rows of a load are told apart by: a hash over what each would be sent as, in order. A row that cannot be sent
// counts with its key and what is wrong with it. Nil is that of a load nobody goes on with, which needs none.
type digest struct{ hash hash.Hash }

func newDigest(s *Spec) *digest {
	d := &digest{hash: sha256.New()}
	d.add([]byte(s.Object), []byte(s.ExternalID))
	return d
}

// row adds the row that ln has just taken.
func (d *digest) row(ln *line, problem *rest.Refusal) {
	if d == nil {
		return
	}
	if problem != nil {
		d.add([]byte("refused"), ln.key, []byte(problem.Reason))
		return
	}
	d.add(ln.out)
}

// sum ends the digest with the columns, which may be known only after the last row.
func (d *digest) sum(columns []string) string {
	if d == nil {
		return ""
	}
	for _, c := range columns {
		d.add([]byte(c))
	}
	return hex.EncodeToString(d.hash.Sum(nil))
}

// add writes how many texts there are, and each with its length, so that no two sequences look alike.
func (d *digest) add(texts ...[]byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(texts)))
	d.hash.Write(n[:])
	for _, t := range texts {
		binary.BigEndian.PutUint64(n[:], uint64(len(t)))
		d.hash.Write(n[:])
		d.hash.Write(t)
	}
}

// verify reads the rows that are given for a load which is gone on with, and refuses others than those it was prepared of. Nothing
// has happened then, and the load is kept for whoever comes with its rows. A load from before digests were kept is taken as it is.
func (l *load) verify(ctx context.Context, s Spec, next func() (Row, error)) error {
	if next == nil || l.j.Digest == "" {
		return nil
	}
	s, err := s.check()
	if err != nil {
		return err
	}
	d, ln := newDigest(&s), newLine(&s)
	for index := int64(0); ; index++ {
		if index%1024 == 0 && ctx.Err() != nil {
			return fmt.Errorf("read rows: %w", ctx.Err())
		}
		row, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
		d.row(ln, ln.set(row, s.Parent))
	}
	if d.sum(ln.columns) != l.j.Digest {
		return fault.New(fault.Precondition, ReasonDiffers, "the unfinished load of this name has other rows; give these another name")
	}
	return nil
}
