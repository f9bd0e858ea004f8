package load

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// wire keeps connections open between the shots of a measurement. It speaks as much HTTP/1.1 as the services need: an HTTP client for
// everybody took as much of the processors as what was measured, and what it took was measured with it. The zero value has no
// connection; it is used by one shot at a time and closed at the end.
type wire struct {
	idle map[string][]*line // by host and port
}

// close closes what is kept open.
func (w *wire) close() {
	for _, lines := range w.idle {
		for _, l := range lines {
			l.close()
		}
	}
	w.idle = nil
}

// request is what is sent before the key and the body.
type request struct {
	host  string
	heads []string // of each address, in turn
}

// newRequest writes the requests of a shot as far as they do not differ.
func (s shot) newRequest() (request, error) {
	var r request
	method := http.MethodGet
	if s.body != nil {
		method = http.MethodPost
	}
	var header strings.Builder
	if err := s.header.Write(&header); err != nil {
		return r, fmt.Errorf("load: %w", err)
	}
	for _, address := range s.urls {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" || (r.host != "" && r.host != u.Host) {
			return r, fmt.Errorf("load: %q is not the same plain HTTP server", address)
		}
		r.host = u.Host
		r.heads = append(r.heads, method+" "+u.RequestURI()+" HTTP/1.1\r\nHost: "+u.Host+"\r\nUser-Agent: selfsame-load\r\n"+header.String())
	}
	if len(r.heads) == 0 {
		return r, errors.New("load: there is no address to ask")
	}
	return r, nil
}

// appendTo writes the request number i of a shot behind b.
func (r request) appendTo(b []byte, s shot, i int) []byte {
	b = append(b, r.heads[i%len(r.heads)]...)
	if s.body == nil {
		return append(b, "\r\n"...)
	}
	body := s.body(i)
	b = append(append(b, "Content-Type: application/json\r\nIdempotency-Key: "...), s.key(i)...)
	b = append(b, "\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
	return append(b, body...)
}

// answer is one answer as far as it has come in. The zero value waits for its first byte.
type answer struct {
	text   []byte
	status int
	body   int  // where the body begins; zero until all of the head is here
	length int  // of the body; -1 if it comes in chunks
	chunk  int  // where the next chunk begins
	size   int  // of the body, without what stands between chunks
	closes bool // the server closes the connection
}

// reset makes room for the next answer.
func (a *answer) reset() { *a = answer{text: a.text[:0]} }

var (
	errAnswer = errors.New("the server does not answer in HTTP/1.1 with a length or chunks")
	lineEnd   = []byte("\r\n")
	headEnd   = []byte("\r\n\r\n")
)

// complete reports whether all of the answer has come in.
func (a *answer) complete() (bool, error) {
	if a.body == 0 {
		end := bytes.Index(a.text, headEnd)
		if end < 0 {
			return false, nil
		}
		if err := a.readHead(a.text[:end]); err != nil {
			return false, err
		}
		a.body = end + len(headEnd)
		a.chunk = a.body
	}
	if a.length < 0 {
		return a.readChunks()
	}
	a.size = a.length
	if len(a.text) > a.body+a.length {
		return false, errAnswer
	}
	return len(a.text) == a.body+a.length, nil
}

func (a *answer) readHead(head []byte) error {
	first, rest, _ := bytes.Cut(head, lineEnd)
	if len(first) < len("HTTP/1.1 200") || !bytes.HasPrefix(first, []byte("HTTP/1.1 ")) {
		return errAnswer
	}
	var err error
	if a.status, err = strconv.Atoi(string(first[9:12])); err != nil || a.status < http.StatusOK {
		return errAnswer
	}
	known := a.status == http.StatusNoContent || a.status == http.StatusNotModified
	for len(rest) > 0 {
		var l []byte
		l, rest, _ = bytes.Cut(rest, lineEnd)
		name, value, _ := bytes.Cut(l, []byte(":"))
		value = bytes.TrimSpace(value)
		switch len(name) {
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				if a.length, err = strconv.Atoi(string(value)); err != nil || a.length < 0 {
					return errAnswer
				}
				known = true
			}
		case len("Transfer-Encoding"):
			if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
				a.length, known = -1, bytes.EqualFold(value, []byte("chunked"))
			}
		case len("Connection"):
			a.closes = a.closes || bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close"))
		}
	}
	if !known {
		return errAnswer
	}
	return nil
}

// readChunks goes on from the first chunk that was not complete.
func (a *answer) readChunks() (bool, error) {
	for {
		rest := a.text[a.chunk:]
		end := bytes.Index(rest, lineEnd)
		if end < 0 {
			return false, nil
		}
		n, err := strconv.ParseUint(string(rest[:end]), 16, 31)
		if err != nil {
			return false, errAnswer
		}
		if n == 0 {
			return bytes.HasSuffix(rest, headEnd), nil
		}
		whole := end + len(lineEnd) + int(n) + len(lineEnd)
		if len(rest) < whole {
			return false, nil
		}
		a.chunk, a.size = a.chunk+whole, a.size+int(n)
	}
}
