package rest

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// errEncoding says that a body is compressed in a way that is not served.
var errEncoding = errors.New("unknown content encoding")

// unpack undoes the compression of a request body.
func unpack(in io.Reader, encoding string) (io.Reader, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return in, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("open gzip body: %w", err)
		}
		return z, nil
	case "deflate":
		// The name stands for zlib, but some clients send the bare stream.
		b := bufio.NewReader(in)
		head, err := b.Peek(2)
		if err != nil {
			return nil, fmt.Errorf("open deflate body: %w", err)
		}
		if head[0]&0x0f != 8 || (int(head[0])<<8|int(head[1]))%31 != 0 {
			return flate.NewReader(b), nil
		}
		z, err := zlib.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("open deflate body: %w", err)
		}
		return z, nil
	}
	return nil, errEncoding
}

// packFrom is the size in bytes from which an answer is compressed, if the
// client asks for it.
const packFrom = 512

// packers hold compressors for reuse. The zero value is ready.
type packers struct{ gzip, zlib sync.Pool }

type packer interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// pack compresses an answer as the client asked. The entity tag then says so,
// as the tags of Salesforce do.
func (p *packers) pack(accept string, a *answer) {
	if len(a.body) < packFrom || a.header.Get("Content-Encoding") != "" {
		return
	}
	kind := preferred(accept)
	if kind == "" {
		return
	}
	pool := &p.gzip
	if kind == "deflate" {
		pool = &p.zlib
	}
	z, _ := pool.Get().(packer)
	switch {
	case z != nil:
	case kind == "gzip":
		z, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
	default:
		z, _ = zlib.NewWriterLevel(nil, zlib.BestSpeed) // the level is valid
	}
	var out bytes.Buffer
	out.Grow(len(a.body) / 4)
	z.Reset(&out)
	_, err := z.Write(a.body)
	if err = errors.Join(err, z.Close()); err != nil {
		return
	}
	pool.Put(z)
	a.body = out.Bytes()
	a.header.Set("Content-Encoding", kind)
	a.header.Set("Vary", "Accept-Encoding")
	if tag := a.header.Get("ETag"); kind == "gzip" && strings.HasSuffix(tag, `"`) {
		a.header.Set("ETag", strings.TrimSuffix(tag, `"`)+gzipSuffix+`"`)
	}
}

// preferred chooses gzip before deflate among what a client accepts.
func preferred(accept string) string {
	best := ""
	for part := range strings.SplitSeq(accept, ",") {
		name, rest, _ := strings.Cut(part, ";")
		if q, given := strings.CutPrefix(strings.ReplaceAll(rest, " ", ""), "q="); given {
			if weight, err := strconv.ParseFloat(q, 64); err != nil || weight == 0 {
				continue
			}
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "*":
			return "gzip"
		case "deflate":
			best = "deflate"
		}
	}
	return best
}
