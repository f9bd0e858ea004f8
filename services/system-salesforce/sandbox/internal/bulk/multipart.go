package bulk

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
)

// createWithData makes a job from a multipart body with the parts "job" and
// "content".
func (s *Service) createWithData(c Call, boundary string) *Response {
	body, err := unpack(c.Request)
	if err != nil || boundary == "" {
		return unreadableBody()
	}
	var j *job
	for parts := multipart.NewReader(body, boundary); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unreadableBody()
		}
		switch {
		case part.FormName() == "job" && j == nil:
			var refusal *Response
			if j, refusal = s.newIngest(c, part); refusal != nil {
				return refusal
			}
			j.data.limit = 4 * maxMultipart // characters may have several bytes
		case part.FormName() == "content" && j != nil:
			text, err := io.ReadAll(io.LimitReader(part, 4*maxMultipart+1))
			if err != nil {
				return unreadableBody()
			}
			if len(bytes.Runes(text)) > maxMultipart {
				return problem("ClientInputError", "The content of a multipart request must not exceed 100,000 characters")
			}
			if _, err := j.data.Write(text); err != nil {
				return unreadableBody()
			}
			j.state = uploadComplete
		}
	}
	if j == nil || j.state != uploadComplete {
		return problem("ClientInputError", "A multipart request needs the parts job and content, in this order")
	}
	return s.keep(j)
}

// unpack returns the body of a request, decompressed.
func unpack(r *http.Request) (io.Reader, error) {
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, fmt.Errorf("open gzip body: %w", err)
		}
		return z, nil
	}
	return nil, errors.New("unknown content encoding")
}
