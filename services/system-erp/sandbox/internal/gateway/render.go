package gateway

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// renderer writes entities.
type renderer struct {
	base string
	lang edm.Language
	tx   *store.Tx
}

// address is where an entity can be read.
func (r renderer) address(set *edm.Set, row store.Row) string {
	keys := set.Keys()
	parts := make([]string, len(keys))
	for i, k := range keys {
		v := set.Props[k].Literal(row[k], r.lang)
		literal := strings.ReplaceAll(url.QueryEscape(v), "+", "%20")
		literal = strings.ReplaceAll(literal, "%27", "'")
		if parts[i] = literal; len(keys) > 1 {
			parts[i] = set.Props[k].Name + "=" + literal
		}
	}
	return r.base + set.Name + "(" + strings.Join(parts, ",") + ")"
}

func (r renderer) entity(b []byte, set *edm.Set, row store.Row, shape *query.Shape) []byte {
	if shape == nil {
		shape = &query.Shape{}
	}
	self := r.address(set, row)
	b = append(b, `{"__metadata":{"id":`...)
	b = edm.AppendString(b, self)
	b = append(b, `,"uri":`...)
	b = edm.AppendString(b, self)
	b = append(b, `,"type":"`+set.Service.Bare()+"."+set.TypeName()+`"`...)
	if tag := tagOf(set, row); tag != "" {
		b = append(b, `,"etag":`...)
		b = edm.AppendString(b, tag)
	}
	b = append(b, '}')
	for i := range set.Props {
		if p := &set.Props[i]; shape.Has(i) {
			b = append(b, `,"`+p.Name+`":`...)
			b = p.AppendJSON(b, row[i], r.lang)
		}
	}
	for _, n := range set.Navs {
		child, expanded := shape.Expand[n.Name]
		switch {
		case expanded:
			b = append(b, `,"`+n.Name+`":`...)
			b = r.expanded(b, set, row, n, child)
		case shape.Props == nil || shape.All:
			b = append(b, `,"`+n.Name+`":{"__deferred":{"uri":`...)
			b = edm.AppendString(b, self+"/"+n.Name)
			b = append(b, "}}"...)
		}
	}
	return append(b, '}')
}

func (r renderer) expanded(b []byte, set *edm.Set, row store.Row, n *edm.Navigation, shape *query.Shape) []byte {
	if !n.Many {
		var one store.Row
		r.tx.Follow(set, row, n, func(found store.Row) bool { one = found; return false })
		if one == nil {
			return append(b, "null"...)
		}
		return r.entity(b, n.Target, one, shape)
	}
	b = append(b, `{"results":[`...)
	first := true
	r.tx.Follow(set, row, n, func(found store.Row) bool {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = r.entity(b, n.Target, found, shape)
		return true
	})
	return append(b, "]}"...)
}

func (r renderer) complex(b []byte, set *edm.Set, row store.Row) []byte {
	b = append(b, `{"__metadata":{"type":"`+set.Service.Bare()+"."+set.Name+`"}`...)
	for i := range set.Props {
		p := &set.Props[i]
		b = append(b, `,"`+p.Name+`":`...)
		b = p.AppendJSON(b, row[i], r.lang)
	}
	return append(b, '}')
}

// tagOf is the weak tag of an entity; empty when its set has none. A date is written as a literal, a text as hex, so that
// nobody is tempted to read it.
func tagOf(set *edm.Set, row store.Row) string {
	if set.ETag < 0 {
		return ""
	}
	switch v := row[set.ETag].(type) {
	case int64:
		return `W/"datetimeoffset'` + url.QueryEscape(time.UnixMilli(v).UTC().Format("2006-01-02T15:04:05.000Z")) + `'"`
	case string:
		return `W/"SADL-` + strings.ToUpper(hex.EncodeToString([]byte(v))) + `"`
	}
	return `W/"''"`
}

func serviceDocument(s *edm.Service) answer {
	b := []byte(`{"d":{"EntitySets":[`)
	for i, set := range s.Sets {
		if i > 0 {
			b = append(b, ',')
		}
		b = edm.AppendString(b, set.Name)
	}
	return json(http.StatusOK, append(b, "]}}"...))
}

// refusal writes an error as the gateway does.
func refusal(m *message.Error, lang edm.Language) answer {
	b := append([]byte(`{"error":{"code":`), edm.AppendString(nil, m.Code)...)
	b = append(b, `,"message":{"lang":"`+strings.ToLower(string(lang))+`","value":`...)
	b = edm.AppendString(b, m.Text)
	b = fmt.Appendf(b, `},"innererror":{"application":{"component_id":"","service_namespace":"/SAP/","service_id":"","service_version":"0001"},`+
		`"transactionid":"%s","timestamp":"","Error_Resolution":{"SAP_Transaction":"Run transaction /IWFND/ERROR_LOG on the gateway hub","SAP_Note":"See SAP Note 1797736"},`+
		`"errordetails":[{"code":`, transaction())
	b = edm.AppendString(b, m.Code)
	b = append(b, `,"message":`...)
	b = edm.AppendString(b, m.Text)
	b = append(b, `,"propertyref":`...)
	b = edm.AppendString(b, m.Target)
	b = append(b, `,"severity":"error","target":`...)
	b = edm.AppendString(b, m.Target)
	return json(m.Status, append(b, "}]}}}"...))
}

// Refuse answers with an error of the system, for a request that does not reach the gateway.
func Refuse(w http.ResponseWriter, status int, code, text string) {
	if code == "" {
		code = "/IWFND/CM_MGW/000"
	}
	if text == "" {
		text = http.StatusText(status)
	}
	a := refusal(message.New(status, code, "%s", text), edm.English)
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client may be gone
}
