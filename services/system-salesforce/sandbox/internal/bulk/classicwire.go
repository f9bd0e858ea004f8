package bulk

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
)

// resultCSV writes the results of a batch in the order of its rows.
func resultCSV(results []outcome) []byte {
	out := []byte("\"Id\",\"Success\",\"Created\",\"Error\"\n")
	for _, o := range results {
		id, ok, text := o.id, "true", ""
		if o.fail != nil {
			id, ok, text = "", "false", rowError(o.fail)
		}
		created := "false"
		if o.created {
			created = "true"
		}
		for i, v := range []string{id, ok, created, text} {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendQuoted(out, v)
		}
		out = append(out, '\n')
	}
	return out
}

// classicResult is the result of one row as XML or JSON.
type classicResult struct {
	XMLName xml.Name       `json:"-" xml:"result"`
	ID      *string        `json:"id" xml:"id,omitempty"`
	Success bool           `json:"success" xml:"success"`
	Created bool           `json:"created" xml:"created"`
	Errors  []classicFault `json:"errors" xml:"errors"`
}

type classicFault struct {
	Fields  []string `json:"fields" xml:"fields"`
	Message string   `json:"message" xml:"message"`
	Code    string   `json:"statusCode" xml:"statusCode"`
}

func classicResults(results []outcome) []classicResult {
	out := make([]classicResult, len(results))
	for i, o := range results {
		out[i] = classicResult{Success: o.fail == nil, Created: o.created, Errors: []classicFault{}}
		if o.fail != nil {
			fields := o.fail.Fields
			if fields == nil {
				fields = []string{}
			}
			out[i].Errors = append(out[i].Errors, classicFault{fields, o.fail.Message, o.fail.Code})
			continue
		}
		out[i].ID = &o.id
	}
	return out
}

func jsonBody(in io.Reader, into any) error { return json.NewDecoder(in).Decode(into) }

func xmlBody(in io.Reader, into any) error { return xml.NewDecoder(in).Decode(into) }

func xmlText(v any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	err := xml.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func isJSON(kind string) bool { return strings.Contains(strings.ToLower(kind), "json") }
