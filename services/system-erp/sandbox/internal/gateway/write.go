package gateway

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	encoding "encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/business"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// transaction is the id under which the system keeps its log of a request.
func transaction() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

// parse reads a body as an object.
func parse(body []byte) (map[string]any, error) {
	d := encoding.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil || out == nil {
		return nil, message.Bad("CX_SXML_PARSE_ERROR/001560AA0E081DEB8CA398CC1690D406", "Error while parsing an XML stream: the body is no JSON object")
	}
	if in, ok := out["d"].(map[string]any); ok && len(out) == 1 {
		return in, nil
	}
	return out, nil
}

// node makes an entity with what is nested in it out of an object.
func (s *Server) node(set *edm.Set, in map[string]any, lang edm.Language, depth int) (*business.Node, error) {
	n := &business.Node{Set: set, Row: make(store.Row, len(set.Props)), Children: map[*edm.Navigation][]*business.Node{}}
	for name, v := range in {
		if name == "__metadata" {
			continue
		}
		if nav := set.Nav(name); nav != nil {
			children, err := s.nested(nav, v, lang, depth)
			if err != nil {
				return nil, err
			}
			n.Children[nav] = append(n.Children[nav], children...)
			continue
		}
		at := set.At(name)
		if at < 0 {
			return nil, message.Bad("CX_SXML_PARSE_ERROR/00155DE1B41C1EE0A8A0F79B9BC4C0A6", "Property '%s' is invalid", name).At(name)
		}
		var err error
		if n.Row[at], err = set.Props[at].FromJSON(v, lang); err != nil {
			return nil, err
		}
		if set.Props[at].ReadOnly {
			n.Row[at] = nil // ignored, as the system does
		}
	}
	return n, nil
}

// nested reads one object, an array, or {"results": array}.
func (s *Server) nested(nav *edm.Navigation, v any, lang edm.Language, depth int) ([]*business.Node, error) {
	if depth > 8 {
		return nil, message.Bad("/IWBEP/CM_MGW_RT/047", "The body is nested too deeply")
	}
	var list []any
	switch x := v.(type) {
	case nil:
		return nil, nil
	case []any:
		list = x
	case map[string]any:
		if results, ok := x["results"].([]any); ok {
			list = results
		} else if _, link := x["__deferred"]; !link {
			list = []any{x}
		}
	}
	var out []*business.Node
	for _, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			return nil, message.Bad("CX_SXML_PARSE_ERROR/00155DE1B41C1EE0A8A0F79B9BC4C0A6", "Property '%s' is invalid", nav.Name)
		}
		n, err := s.node(nav.Target, object, lang, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (s *Server) create(q request, c *business.Call, p place) (answer, error) {
	switch {
	case p.keyed || p.count:
		return answer{}, message.New(http.StatusMethodNotAllowed, "/IWBEP/CM_MGW_RT/046", "POST is not allowed on an entity")
	case p.set.NoCreate:
		return answer{}, message.New(http.StatusMethodNotAllowed, "/IWBEP/CM_MGW_RT/021", "Method '%s' not implemented in data provider class: %s is not creatable", "CREATE_ENTITY", p.set.Name)
	}
	in, err := parse(q.body)
	if err != nil {
		return answer{}, err
	}
	n, err := s.node(p.set, in, q.lang, 0)
	if err != nil {
		return answer{}, err
	}
	if p.nav != nil {
		business.Attach(p.owner, p.nav, n)
	}
	if err := s.Laws.CreateBelow(c, n); err != nil {
		return answer{}, err
	}
	row, _ := c.Tx.Get(p.set, store.Key(p.set, n.Row))
	r := renderer{base: q.base, lang: q.lang, tx: c.Tx}
	a := json(http.StatusCreated, append(r.entity([]byte(`{"d":`), p.set, row, sent(n)), '}'))
	a.header.Set("Location", r.address(p.set, row))
	if tag := tagOf(p.set, row); tag != "" {
		a.header.Set("Etag", tag)
	}
	a.note(c)
	return a, nil
}

// sent is the shape of what was sent: what was nested comes back nested.
func sent(n *business.Node) *query.Shape {
	shape := &query.Shape{}
	for nav, children := range n.Children {
		if len(children) == 0 || strings.HasPrefix(nav.Name, "to_Mobile") {
			continue
		}
		if shape.Expand == nil {
			shape.Expand = map[string]*query.Shape{}
		}
		shape.Expand[nav.Name] = sent(children[0])
	}
	return shape
}

// note puts what is said beside a success into its header.
func (a *answer) note(c *business.Call) {
	if len(c.Notes) == 0 {
		return
	}
	type outer struct {
		Code     string `json:"code"`
		Message  string `json:"message"`
		Target   string `json:"target"`
		Severity string `json:"severity"`
		Details  []any  `json:"details"`
	}
	first := c.Notes[0]
	m := outer{first.Code, first.Message, first.Target, first.Severity, []any{}}
	for _, n := range c.Notes[1:] {
		m.Details = append(m.Details, n)
	}
	text, err := encoding.Marshal(m)
	if err == nil {
		a.header.Set("Sap-Message", string(text))
	}
}

// matches checks the condition of a write: 428 without one, 412 when it does not hold.
func matches(q request, set *edm.Set, row store.Row) error {
	tag := tagOf(set, row)
	if tag == "" {
		return nil
	}
	given := q.header.Get("If-Match")
	switch given {
	case "":
		return message.New(http.StatusPreconditionRequired, "/IWFND/CM_MGW/004", "The server requires that the request is conditional: If-Match is missing")
	case "*":
		return nil
	}
	for one := range strings.SplitSeq(given, ",") {
		if strings.TrimSpace(one) == tag {
			return nil
		}
	}
	return message.New(http.StatusPreconditionFailed, "/IWBEP/CM_MGW_RT/119", "Precondition failed: the resource was changed meanwhile")
}

func (s *Server) update(q request, c *business.Call, p place) (answer, error) {
	if !p.keyed {
		return answer{}, message.New(http.StatusMethodNotAllowed, "/IWBEP/CM_MGW_RT/046", "Method %s is not allowed on a collection", q.method)
	}
	if p.row == nil {
		return answer{}, notFound(p.set)
	}
	if p.set.NoUpdate {
		return answer{}, message.New(http.StatusMethodNotAllowed, "/IWBEP/CM_MGW_RT/021", "%s is not updatable", p.set.Name)
	}
	if err := matches(q, p.set, p.row); err != nil {
		return answer{}, err
	}
	in, err := parse(q.body)
	if err != nil {
		return answer{}, err
	}
	row := slices.Clone(p.row)
	if q.method == http.MethodPut {
		for i, prop := range p.set.Props {
			if !prop.Key && !prop.ReadOnly && !prop.Fixed && prop.Type == edm.String {
				row[i] = ""
			}
		}
	}
	for name, v := range in {
		if name == "__metadata" {
			continue
		}
		if nav := p.set.Nav(name); nav != nil {
			if link, ok := v.(map[string]any); ok && link["__deferred"] != nil {
				continue
			}
			return answer{}, message.Bad("/IWBEP/CM_MGW_RT/053", "Inline component is not defined or not allowed (HTTP PUT, MERGE, PATCH): %s", name)
		}
		at := p.set.At(name)
		if at < 0 {
			return answer{}, message.Bad("CX_SXML_PARSE_ERROR/00155DE1B41C1EE0A8A0F79B9BC4C0A6", "Property '%s' is invalid", name).At(name)
		}
		prop := &p.set.Props[at]
		kept, err := prop.FromJSON(v, q.lang)
		if err != nil {
			return answer{}, err
		}
		if prop.ReadOnly || prop.Key || prop.Fixed {
			continue
		}
		row[at] = kept
	}
	if err := s.Laws.Update(c, p.set, p.row, row); err != nil {
		return answer{}, err
	}
	a := answer{status: http.StatusNoContent, header: http.Header{}}
	if now, ok := c.Tx.Get(p.set, store.Key(p.set, row)); ok && tagOf(p.set, now) != "" {
		a.header.Set("Etag", tagOf(p.set, now))
	}
	a.note(c)
	return a, nil
}

func (s *Server) remove(q request, c *business.Call, p place) (answer, error) {
	switch {
	case !p.keyed || p.set.NoDelete:
		return answer{}, message.New(http.StatusMethodNotAllowed, "/IWBEP/CM_MGW_RT/021", "%s is not deletable", p.set.Name)
	case p.row == nil:
		return answer{}, notFound(p.set)
	}
	if err := matches(q, p.set, p.row); err != nil {
		return answer{}, err
	}
	if err := s.Laws.Delete(c, p.set, p.row); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent, header: http.Header{}}, nil
}
