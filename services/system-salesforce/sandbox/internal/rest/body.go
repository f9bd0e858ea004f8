package rest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// body decodes a JSON request body, keeping numbers as they were written.
func (c *call) body(into any) *answer {
	kind := strings.ToLower(c.r.Header.Get("Content-Type"))
	if kind != "" && !strings.Contains(kind, "json") {
		return fail(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "The content type is not supported: only JSON is.")
	}
	b, err := payload(c.r)
	if err != nil {
		return fail(http.StatusBadRequest, "JSON_PARSER_ERROR", "The request body could not be read.")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fail(http.StatusBadRequest, "JSON_PARSER_ERROR", fmt.Sprintf("Unexpected input at [line:1, column:%d]", d.InputOffset()+1))
	}
	if d.More() {
		return fail(http.StatusBadRequest, "JSON_PARSER_ERROR", fmt.Sprintf("Unexpected input at [line:1, column:%d]", d.InputOffset()+1))
	}
	return nil
}

func payload(r *http.Request) ([]byte, error) {
	var in io.Reader = http.MaxBytesReader(nil, r.Body, maxBody)
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("open gzip body: %w", err)
		}
		in = z
	case "deflate":
		in = flate.NewReader(in)
	}
	b, err := io.ReadAll(io.LimitReader(in, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if len(b) > maxBody {
		return nil, fmt.Errorf("the body is larger than %d bytes", maxBody)
	}
	return b, nil
}

// record decodes a body that is one record.
func (c *call) record() (map[string]any, *answer) {
	var in map[string]any
	if a := c.body(&in); a != nil {
		return nil, a
	}
	if in == nil {
		return nil, fail(http.StatusBadRequest, "JSON_PARSER_ERROR", "The HTTP entity body is required, but this request has no entity body.")
	}
	return in, nil
}
