package odata

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Op is one operation of a batch.
type Op struct {
	// Method is GET, POST, PATCH, MERGE, PUT or DELETE.
	Method string
	// Path is below the service, escaped.
	Path  string
	Query url.Values
	// Body is an entity or fields; nil for none.
	Body any
	// IfMatch is a condition; empty for none.
	IfMatch string
}

// Part is one read, or the writes of one change set, which happen all or not at all.
type Part []Op

func (p Part) writes() bool { return len(p) > 0 && p[0].Method != http.MethodGet }

// PartAnswer is what became of a part: an answer per operation, or the error of the whole part.
type PartAnswer struct {
	Answers []Answer
	Err     error
}

// Batch sends parts in one request and answers each in order. Its own error means that no part was answered: Uncertain when
// there are writes among them and they may have been executed. A part whose answer is missing is Uncertain by itself.
func (c *Client) Batch(ctx context.Context, service string, parts []Part) ([]PartAnswer, error) {
	boundary := "batch_" + rand.Text()
	body, err := writeBatch(boundary, parts, c.o.Language)
	if err != nil {
		return nil, err
	}
	writes := false
	for _, p := range parts {
		writes = writes || p.writes()
	}
	r, err := c.send(ctx, call{
		method: http.MethodPost, service: service, path: "$batch", body: body,
		header: map[string]string{"Content-Type": "multipart/mixed; boundary=" + boundary, "Accept": "multipart/mixed"},
	})
	if err != nil {
		return nil, softened(err, writes)
	}
	if r.status != http.StatusAccepted && r.status != http.StatusOK {
		return nil, r.refusal(writes)
	}
	replies, err := parseBatch(r.header.Get("Content-Type"), r.body)
	out := make([]PartAnswer, len(parts))
	for i, p := range parts {
		switch {
		case i < len(replies):
			out[i] = replies[i].of(p)
			for _, a := range out[i].Answers {
				c.noted(ctx, service, a)
			}
		default:
			out[i].Err = softened(lost(errors.Join(errors.New("the batch has no answer to this part"), err)), p.writes())
		}
	}
	return out, nil
}

// softened is err for a request that writes nothing although it is a POST.
func softened(err error, writes bool) error {
	if writes {
		return err
	}
	return unread(err)
}

func writeBatch(boundary string, parts []Part, language string) ([]byte, error) {
	var b bytes.Buffer
	for i, p := range parts {
		fmt.Fprintf(&b, "--%s\r\n", boundary)
		if !p.writes() {
			if len(p) != 1 {
				return nil, errors.New("a part of a batch is one read or a change set")
			}
			if err := writeOp(&b, p[0], language, 0); err != nil {
				return nil, err
			}
			continue
		}
		set := fmt.Sprintf("%s_%d", boundary, i)
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n", set)
		for j, op := range p {
			if op.Method == http.MethodGet {
				return nil, errors.New("a change set holds no reads")
			}
			fmt.Fprintf(&b, "--%s\r\n", set)
			if err := writeOp(&b, op, language, j+1); err != nil {
				return nil, err
			}
		}
		fmt.Fprintf(&b, "--%s--\r\n", set)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes(), nil
}

func writeOp(b *bytes.Buffer, op Op, language string, id int) error {
	b.WriteString("Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n")
	if id > 0 {
		fmt.Fprintf(b, "Content-ID: %d\r\n", id)
	}
	target := op.Path
	if q := encode(op.Query); q != "" {
		target += "?" + q
	}
	fmt.Fprintf(b, "\r\n%s %s HTTP/1.1\r\nAccept: application/json\r\nAccept-Language: %s\r\n", op.Method, target, language)
	if op.IfMatch != "" {
		fmt.Fprintf(b, "If-Match: %s\r\n", op.IfMatch)
	}
	if op.Body == nil {
		b.WriteString("\r\n\r\n")
		return nil
	}
	text, err := json.Marshal(op.Body)
	if err != nil {
		return fmt.Errorf("write an operation of a batch: %w", err)
	}
	fmt.Fprintf(b, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(text))
	b.Write(text)
	b.WriteString("\r\n")
	return nil
}

// partReply is the answer to one part: of a read or of a refused change set one reply, else one per operation.
type partReply struct {
	replies []reply
	set     bool
}

func (r partReply) of(p Part) PartAnswer {
	write := p.writes()
	if len(r.replies) == 1 && (r.replies[0].status < 200 || r.replies[0].status > 299) {
		return PartAnswer{Err: r.replies[0].refusal(write)}
	}
	if len(r.replies) != len(p) || write && !r.set {
		return PartAnswer{Err: softened(lost(errors.New("the batch answers a part in another form")), write)}
	}
	out := PartAnswer{Answers: make([]Answer, len(p))}
	for i, one := range r.replies {
		a, err := one.answer(write)
		if err != nil {
			return PartAnswer{Err: err}
		}
		if p[i].Method == http.MethodPost && (a.Status != http.StatusCreated || len(a.Body) == 0) {
			return PartAnswer{Err: lost(errors.New("a creation was answered without an entity"))}
		}
		out.Answers[i] = a
	}
	return out
}

// maxParts bounds what is read of a batch.
const maxParts = 10_000

// parseBatch reads the answer to a batch. With an error it returns the parts before the place where it is broken.
func parseBatch(contentType string, body []byte) ([]partReply, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(kind, "multipart/") || params["boundary"] == "" {
		return nil, errors.New("the answer to a batch is no batch")
	}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	var out []partReply
	for len(out) < maxParts {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("read a part of a batch: %w", err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			return out, fmt.Errorf("read a part of a batch: %w", err)
		}
		one, err := parsePart(p.Header.Get("Content-Type"), text)
		if err != nil {
			return out, err
		}
		out = append(out, one)
	}
	return out, errors.New("the answer to a batch does not end")
}

func parsePart(contentType string, text []byte) (partReply, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return partReply{}, fmt.Errorf("read the type of a part: %w", err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		one, err := parseHTTP(text)
		return partReply{replies: []reply{one}}, err
	}
	out := partReply{set: true}
	r := multipart.NewReader(bytes.NewReader(text), params["boundary"])
	for len(out.replies) < maxParts {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return partReply{}, fmt.Errorf("read an answer of a change set: %w", err)
		}
		inner, err := io.ReadAll(p)
		if err != nil {
			return partReply{}, fmt.Errorf("read an answer of a change set: %w", err)
		}
		one, err := parseHTTP(inner)
		if err != nil {
			return partReply{}, err
		}
		out.replies = append(out.replies, one)
	}
	return partReply{}, errors.New("a change set does not end")
}

// parseHTTP reads an answer that is written as text. A body that is shorter than it says is an error; without a length it
// is what is there.
func parseHTTP(text []byte) (reply, error) {
	in := bufio.NewReader(bytes.NewReader(bytes.TrimLeft(text, "\r\n")))
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodHead})
	if err != nil {
		return reply{}, fmt.Errorf("read an answer of a batch: %w", err)
	}
	_ = resp.Body.Close() // there is none: the body is read from the text
	body, err := io.ReadAll(in)
	if err != nil {
		return reply{}, fmt.Errorf("read an answer of a batch: %w", err)
	}
	if n, err := strconv.Atoi(resp.Header.Get("Content-Length")); err == nil && n >= 0 {
		if n > len(body) {
			return reply{}, errors.New("an answer of a batch is cut")
		}
		body = body[:n]
	}
	return reply{resp.StatusCode, resp.Header, bytes.TrimSpace(body)}, nil
}
