package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/rules"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// firstDuplicateHeader is the version since which duplicate rules listen to a
// header.
const firstDuplicateHeader = 52

// wishes reads what the caller asks of assignment and duplicate rules. Without
// a header assignment rules run.
func (c *call) wishes() store.Wishes {
	out := store.Wishes{Assign: store.AssignActive, Version: c.version}
	switch given := strings.TrimSpace(c.r.Header.Get("Sforce-Auto-Assign")); {
	case given == "" || strings.EqualFold(given, "TRUE"):
	case strings.EqualFold(given, "FALSE"):
		out.Assign = ""
	default:
		out.Assign = given
		if id, ok := sfid.Normal(given); ok {
			out.Assign = id
		}
	}
	if c.number < firstDuplicateHeader {
		return out
	}
	for part := range strings.FieldsFuncSeq(c.r.Header.Get("Sforce-Duplicate-Rule-Header"), func(r rune) bool { return r == ';' || r == ',' }) {
		name, v, _ := strings.Cut(part, "=")
		on := strings.EqualFold(strings.TrimSpace(v), "true")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "allowsave":
			out.AllowDuplicates = on
		case "includerecorddetails":
			out.DuplicateDetails = on
		}
	}
	return out
}

// duplicateResult says which records a refused one is like.
type duplicateResult struct {
	AllowSave  bool          `json:"allowSave"`
	Rule       string        `json:"duplicateRule"`
	EntityType string        `json:"duplicateRuleEntityType"`
	Message    string        `json:"errorMessage"`
	Results    []matchResult `json:"matchResults"`
}

type matchResult struct {
	EntityType string        `json:"entityType"`
	Errors     []any         `json:"errors"`
	Engine     string        `json:"matchEngine"`
	Records    []matchRecord `json:"matchRecords"`
	Rule       string        `json:"rule"`
	Size       int           `json:"size"`
	Success    bool          `json:"success"`
}

type matchRecord struct {
	Information []any           `json:"additionalInformation"`
	Diffs       []any           `json:"fieldDiffs"`
	Confidence  json.Number     `json:"matchConfidence"`
	Record      json.RawMessage `json:"record"`
}

func duplicates(d *store.Duplicates) *duplicateResult {
	if d == nil || len(d.Matches) == 0 {
		return nil
	}
	o := d.Matches[0].Object
	fields := []*schema.Field{o.Field("Id")}
	if d.Details {
		fields = o.Fields
	}
	m := matchResult{EntityType: o.Name, Errors: []any{}, Engine: d.Engine, Rule: d.MatchRule, Size: len(d.Matches), Success: true}
	for _, r := range d.Matches {
		m.Records = append(m.Records, matchRecord{[]any{}, []any{}, "100.0", render.Record(nil, d.Version, r, fields)})
	}
	return &duplicateResult{AllowSave: d.AllowSave, Rule: d.Rule, EntityType: o.Name, Message: d.Message, Results: []matchResult{m}}
}

// rules shows and replaces the rules of the organization.
func (s *Server) rules(r *http.Request) *answer {
	var in rules.Set
	switch r.Method {
	case http.MethodGet:
		return reply(http.StatusOK, s.opt.Rules.Get())
	case http.MethodPut:
		b, err := payload(r)
		if err != nil {
			return badControl("the body could not be read")
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return badControl(err.Error())
		}
	}
	if err := s.opt.Rules.Set(in, rules.Users(s.opt.Store)); err != nil {
		return badControl(err.Error())
	}
	return reply(http.StatusOK, s.opt.Rules.Get())
}
