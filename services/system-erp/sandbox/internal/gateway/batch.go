package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/business"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// maxParts is how many operations one batch may hold.
const maxParts = 1000

func badBatch(format string, args ...any) *message.Error {
	return message.New(http.StatusBadRequest, "/IWFND/CM_MGW/013", format, args...)
}

// batch answers a multipart request: reads one by one, each change set completely or not at all.
func (s *Server) batch(q request) answer {
	parts, err := split(q.header.Get("Content-Type"), q.body)
	if err != nil {
		return refusal(badBatch("The batch cannot be read: %v", err), q.lang)
	}
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	for _, p := range parts {
		kind, _, _ := mime.ParseMediaType(p.header.Get("Content-Type"))
		switch kind {
		case "application/http":
			inner, err := s.inner(q, p)
			if err == nil && !reads(inner.method) {
				err = badBatch("A modifying operation belongs into a change set")
			}
			if err != nil {
				single(w, s.failed(err, q.lang), "")
				continue
			}
			single(w, s.do(inner), "")
		case "multipart/mixed":
			s.changeSet(w, q, p)
		default:
			single(w, refusal(badBatch("A part of a batch has no content type"), q.lang), "")
		}
	}
	if err := w.Close(); err != nil {
		return refusal(badBatch("The answer cannot be written"), q.lang)
	}
	return answer{status: http.StatusAccepted, header: http.Header{"Content-Type": {"multipart/mixed; boundary=" + w.Boundary()}}, body: out.Bytes()}
}

type part struct {
	header textproto.MIMEHeader
	body   []byte
}

func split(contentType string, body []byte) ([]part, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	var out []part
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(p)
		if err != nil {
			return nil, err
		}
		if out = append(out, part{p.Header, text}); len(out) > maxParts {
			return nil, errors.New("too many parts")
		}
	}
}

// inner reads an operation out of a part.
func (s *Server) inner(q request, p part) (request, error) {
	text := bytes.TrimLeft(p.body, "\r\n")
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/") {
		return request{}, badBatch("An operation has no request line")
	}
	tp := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(rest, "\r\n\r\n"...))))
	header, err := tp.ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		return request{}, badBatch("The header of an operation cannot be read")
	}
	body := rest
	if i := bytes.Index(rest, []byte("\r\n\r\n")); i >= 0 {
		body = rest[i+4:]
	} else if i := bytes.Index(rest, []byte("\n\n")); i >= 0 {
		body = rest[i+2:]
	}
	if n, err := strconv.Atoi(header.Get("Content-Length")); err == nil && n >= 0 && n <= len(body) {
		body = body[:n]
	}
	target := strings.TrimPrefix(words[1], q.base)
	if i := strings.Index(target, Root); i >= 0 { // an absolute address
		_, target, _ = strings.Cut(target[i+len(Root):], "/")
	}
	path, query, _ := strings.Cut(strings.TrimPrefix(target, "/"), "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return request{}, badBatch("The address of an operation cannot be read")
	}
	method := strings.ToUpper(words[0])
	if m := header.Get("X-Http-Method"); m != "" && method == http.MethodPost {
		method = strings.ToUpper(m)
	}
	if err := s.foreign(request{query: values}, http.Header(header), true); err != nil {
		return request{}, err
	}
	in := q
	in.method, in.path, in.query, in.header, in.body = method, path, values, http.Header(header), bytes.TrimSpace(body)
	return in, nil
}

// changeSet does the operations of a change set together; the first that fails is the answer of all.
func (s *Server) changeSet(w *multipart.Writer, q request, p part) {
	var answers []answer
	var ids []string
	parts, err := split(p.header.Get("Content-Type"), p.body)
	if err == nil {
		err = s.Store.Update(func(tx *store.Tx) error {
			for _, one := range parts {
				in, err := s.inner(q, one)
				if err != nil {
					return err
				}
				if reads(in.method) {
					return badBatch("A change set holds modifying operations only")
				}
				a, err := s.operate(in, &business.Call{Tx: tx, Language: q.lang})
				if err != nil {
					return err
				}
				answers, ids = append(answers, a), append(ids, one.header.Get("Content-Id"))
			}
			return nil
		})
	}
	if err != nil {
		single(w, s.failed(err, q.lang), "")
		return
	}
	var out bytes.Buffer
	inner := multipart.NewWriter(&out)
	for i, a := range answers {
		single(inner, a, ids[i])
	}
	_ = inner.Close() // a buffer takes everything
	if out.Len() == 0 {
		return
	}
	body, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"multipart/mixed; boundary=" + inner.Boundary()}, "Content-Length": {strconv.Itoa(out.Len())}})
	if err == nil {
		_, _ = body.Write(out.Bytes()) // a buffer takes everything
	}
}

// single writes one answer as a part.
func single(w *multipart.Writer, a answer, id string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	a.header.Set("Content-Length", strconv.Itoa(len(a.body)))
	a.header.Set("Dataserviceversion", "2.0")
	_ = a.header.Write(&b) // a buffer takes everything
	b.WriteString("\r\n")
	b.Write(a.body)
	b.WriteString("\r\n")
	h := textproto.MIMEHeader{"Content-Type": {"application/http"}, "Content-Transfer-Encoding": {"binary"}, "Content-Length": {strconv.Itoa(b.Len())}}
	if id != "" {
		h.Set("Content-Id", id)
	}
	if body, err := w.CreatePart(h); err == nil {
		_, _ = body.Write(b.Bytes()) // a buffer takes everything
	}
}
