package rest

import (
	"bytes"
	"encoding/json"
	"errors"
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
	if errors.Is(err, errEncoding) {
		return fail(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "The content encoding is not supported: only gzip and deflate are.")
	}
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
	in, err := unpack(http.MaxBytesReader(nil, r.Body, maxBody), r.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, err
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
