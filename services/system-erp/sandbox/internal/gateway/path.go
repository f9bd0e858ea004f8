package gateway

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/business"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/edm"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/message"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-erp/sandbox/internal/store"
)

// place is where an address leads: a set, an entity, or what a navigation leads to.
type place struct {
	set   *edm.Set
	row   store.Row // the entity, nil for a collection
	keyed bool      // the address names an entity
	owner store.Row // the entity before the last navigation, nil for a whole set
	from  *edm.Set
	nav   *edm.Navigation
	count bool // ends in /$count
}

func notFound(set *edm.Set) error {
	return message.New(http.StatusNotFound, "/IWBEP/CM_MGW_RT/020", "Resource not found for segment '%s'", set.TypeName())
}

func noSegment(name string) error {
	return message.New(http.StatusNotFound, "005056A509B11EE1B9A8FEC11C21578E", "Resource not found for the segment '%s'", name)
}

// find follows an address.
func (s *Server) find(q request, c *business.Call) (place, error) {
	var p place
	for i, segment := range strings.Split(strings.TrimSuffix(q.path, "/"), "/") {
		text, err := url.PathUnescape(segment)
		if err != nil {
			return p, noSegment(segment)
		}
		name, key, keyed := strings.Cut(text, "(")
		if keyed && !strings.HasSuffix(key, ")") {
			return p, noSegment(text)
		}
		key = strings.TrimSuffix(key, ")")
		switch {
		case text == "$count" && p.set != nil && !p.keyed:
			p.count = true
		case p.count:
			return p, noSegment(text)
		case i == 0:
			if p.set = q.service.Set(name); p.set == nil {
				return p, noSegment(name)
			}
		default:
			if err := p.follow(name, c); err != nil {
				return p, err
			}
		}
		if keyed {
			if err := p.entity(key, q, c); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

func (p *place) follow(name string, c *business.Call) error {
	if !p.keyed || p.row == nil {
		return noSegment(name)
	}
	nav := p.set.Nav(name)
	if nav == nil {
		return noSegment(name)
	}
	p.from, p.owner, p.nav, p.set = p.set, p.row, nav, nav.Target
	p.row, p.keyed = nil, !nav.Many
	if !nav.Many {
		c.Tx.Follow(p.from, p.owner, nav, func(r store.Row) bool { p.row = r; return false })
	}
	return nil
}

// entity finds the entity of a key.
func (p *place) entity(text string, q request, c *business.Call) error {
	given, err := query.Literals(text)
	if err != nil {
		return err
	}
	row := make(store.Row, len(p.set.Props))
	for _, k := range p.set.Keys() {
		prop := &p.set.Props[k]
		constant, ok := given[prop.Name]
		if alone, is := given[""]; is && len(p.set.Keys()) == 1 {
			constant, ok = alone, true
		}
		if !ok {
			return message.New(http.StatusBadRequest, "005056A509B11EE1B9A8FEC11C21D78E", "Invalid key predicate type for '%s'", prop.Name)
		}
		if row[k], err = prop.FromLiteral(constant, q.lang); err != nil {
			return err
		}
	}
	if len(given) != len(p.set.Keys()) {
		return message.New(http.StatusBadRequest, "005056A509B11EE1B9A8FEC11C21D78E", "The number of keys specified in the URI does not match '%s'", p.set.TypeName())
	}
	p.keyed = true
	p.row, _ = c.Tx.Get(p.set, store.Key(p.set, row))
	return nil
}

// operate does one operation.
func (s *Server) operate(q request, c *business.Call) (answer, error) {
	switch {
	case q.path == "" && reads(q.method):
		return serviceDocument(q.service), nil
	case q.path == "$metadata" && reads(q.method):
		return answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/xml;charset=utf-8"}}, body: []byte(q.service.Metadata())}, nil
	}
	name, _, _ := strings.Cut(q.path, "(")
	if f := q.service.Function(name); f != nil && reads(q.method) {
		s.calls.add(q.service.Bare(), f.Name, q.method)
		return s.function(q, c, f)
	}
	p, err := s.find(q, c)
	if err != nil {
		return answer{}, err
	}
	s.calls.add(q.service.Bare(), p.set.Name, q.method)
	if !reads(q.method) && s.Locked != nil {
		if err := s.locked(q, p); err != nil {
			return answer{}, err
		}
	}
	switch q.method {
	case http.MethodGet, http.MethodHead:
		return s.read(q, c, p)
	case http.MethodPost:
		return s.create(q, c, p)
	case http.MethodPut, http.MethodPatch, "MERGE":
		return s.update(q, c, p)
	case http.MethodDelete:
		return s.remove(q, c, p)
	}
	return answer{}, message.New(http.StatusMethodNotAllowed, "/IWBEP/CM_MGW_RT/046", "Method %s is not allowed", q.method)
}

// locked refuses what somebody else works on, the way the system does: as a business error.
func (s *Server) locked(q request, p place) error {
	key := ""
	if p.row != nil {
		key = strings.TrimLeft(store.Key(p.set, p.row), "0")
	}
	if !s.Locked(q.method, p.set.Name, key) {
		return nil
	}
	if p.set.Service.Bare() == "API_SALES_ORDER_SRV" {
		return message.Bad("V1/042", "Sales document %s is currently being processed by user SAP_WFRT", key)
	}
	return message.Bad("R1/402", "Business partner %s is currently being processed by user SAP_WFRT", key)
}
