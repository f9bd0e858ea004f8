package rest

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/managed"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
)

// managedType is the only tooling object that exists here.
const managedType = "ManagedEventSubscription"

// tooling serves /tooling: queries for and writes of managed event
// subscriptions. Queries for other tooling objects say that they do not exist.
func (c *call) tooling(seg []string) *answer {
	switch {
	case len(seg) == 1 && seg[0] == "query":
		if q := toolingQuery().FindStringSubmatch(c.query.Get("q")); q != nil {
			return c.get(func() *answer { return c.askManaged(q[1], q[2], q[3]) })
		}
		if q := memberQuery().FindStringSubmatch(c.query.Get("q")); q != nil {
			return c.get(func() *answer { return c.members(q[1]) })
		}
		return c.queries(seg)
	case len(seg) >= 2 && seg[0] == "sobjects" && strings.EqualFold(seg[1], managedType):
		return c.managed(seg[2:])
	}
	return notFound()
}

// toolingQuery reads what is asked of managed subscriptions: fields, condition
// and limit.
func toolingQuery() *regexp.Regexp {
	return regexp.MustCompile(`(?is)^\s*SELECT\s+(.+?)\s+FROM\s+` + managedType + `(?:\s+WHERE\s+(.+?))?(?:\s+LIMIT\s+(\d+))?\s*$`)
}

// toolingCondition is one comparison of such a query.
func toolingCondition() *regexp.Regexp {
	return regexp.MustCompile(`(?is)^\s*(\w+)\s*=\s*'((?:[^'\\]|\\.)*)'\s*$`)
}

type managedMetadata struct {
	Label         string `json:"label,omitempty"`
	Topic         string `json:"topicName"`
	DefaultReplay string `json:"defaultReplay,omitempty"`
	ErrorRecovery string `json:"errorRecoveryReplay,omitempty"`
	State         string `json:"state,omitempty"`
}

func metadataOf(m managed.Subscription) managedMetadata {
	return managedMetadata{m.Label, m.Topic, m.DefaultReplay, m.ErrorRecovery, m.State}
}

// managedField returns a field of a subscription, and false for an unknown one.
func managedField(m managed.Subscription, name string) (string, any, bool) {
	switch strings.ToLower(name) {
	case "id":
		return "Id", m.ID, true
	case "developername":
		return "DeveloperName", m.DeveloperName, true
	case "fullname":
		return "FullName", m.DeveloperName, true
	case "masterlabel":
		return "MasterLabel", m.Label, true
	case "metadata":
		return "Metadata", metadataOf(m), true
	}
	return "", nil, false
}

func (c *call) managedURL(id string) string {
	return render.Base(c.version) + "/tooling/sobjects/" + managedType + "/" + id
}

func (c *call) managedRecord(m managed.Subscription, names []string) map[string]any {
	out := map[string]any{"attributes": map[string]string{"type": managedType, "url": c.managedURL(m.ID)}}
	for _, n := range names {
		if key, v, ok := managedField(m, n); ok {
			out[key] = v
		}
	}
	return out
}

func (c *call) askManaged(list, where, limit string) *answer {
	names := strings.Split(list, ",")
	for i, n := range names {
		names[i] = strings.TrimSpace(n)
		if _, _, ok := managedField(managed.Subscription{}, names[i]); !ok {
			return fail(http.StatusBadRequest, "INVALID_FIELD", fmt.Sprintf("No such column '%s' on entity '%s'.", names[i], managedType))
		}
	}
	found, bad := c.selectManaged(where)
	if bad != nil {
		return bad
	}
	if n, err := strconv.Atoi(limit); err == nil && n < len(found) {
		found = found[:n]
	}
	if heavy := slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, "Metadata") || strings.EqualFold(n, "FullName") }); heavy && len(found) > 1 {
		return fail(http.StatusBadRequest, "MALFORMED_QUERY", fmt.Sprintf(
			"When retrieving results with Metadata or FullName fields, the query qualificator must specify no more than one row for retrieval. Result size: %d", len(found)))
	}
	records := []map[string]any{}
	for _, m := range found {
		records = append(records, c.managedRecord(m, names))
	}
	return reply(http.StatusOK, map[string]any{
		"size": len(records), "totalSize": len(records), "done": true, "queryLocator": nil, "entityTypeName": managedType, "records": records,
	})
}

// selectManaged evaluates comparisons for equality, joined by AND or by OR.
func (c *call) selectManaged(where string) ([]managed.Subscription, *answer) {
	all := c.opt.Managed.All()
	if where == "" {
		return all, nil
	}
	either := regexp.MustCompile(`(?i)\s+OR\s+`).Split(where, -1)
	both := regexp.MustCompile(`(?i)\s+AND\s+`).Split(where, -1)
	parts := both
	if len(either) > 1 {
		parts = either
	}
	var out []managed.Subscription
	matches := make([]int, len(all))
	for _, p := range parts {
		q := toolingCondition().FindStringSubmatch(p)
		if q == nil || len(either) > 1 && len(both) > 1 {
			return nil, fail(http.StatusBadRequest, "MALFORMED_QUERY", "the condition is not understood: "+where)
		}
		want := strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(q[2])
		for i, m := range all {
			_, v, ok := managedField(m, q[1])
			text, plain := v.(string)
			if !ok || !plain {
				return nil, fail(http.StatusBadRequest, "INVALID_FIELD", fmt.Sprintf("field '%s' can not be filtered in a query call", q[1]))
			}
			if strings.EqualFold(text, want) || q[1] != "" && strings.EqualFold(q[1], "Id") && len(want) == 15 && strings.HasPrefix(text, want) {
				matches[i]++
			}
		}
	}
	for i, m := range all {
		if matches[i] == len(parts) || len(either) > 1 && matches[i] > 0 {
			out = append(out, m)
		}
	}
	return out, nil
}

// managed serves the rows of managed event subscriptions.
func (c *call) managed(seg []string) *answer {
	if len(seg) == 0 {
		if c.method == http.MethodPost {
			return c.createManaged()
		}
		return wrongMethod(c.method)
	}
	m, ok := c.opt.Managed.Find(seg[0])
	if !ok || len(seg) > 1 {
		return notFound()
	}
	switch c.method {
	case http.MethodGet, http.MethodHead:
		return reply(http.StatusOK, c.managedRecord(m, []string{"Id", "DeveloperName", "FullName", "MasterLabel", "Metadata"}))
	case http.MethodPatch:
		return c.changeManaged(m)
	case http.MethodDelete:
		if err := c.opt.Managed.Remove(m.ID); err != nil {
			return notFound() // another request was faster
		}
		return empty(http.StatusNoContent)
	}
	return wrongMethod(c.method)
}

type managedBody struct {
	FullName string           `json:"FullName"`
	Metadata *managedMetadata `json:"Metadata"`
}

func (b managedBody) subscription() managed.Subscription {
	m := managed.Subscription{DeveloperName: b.FullName}
	if d := b.Metadata; d != nil {
		m.Label, m.Topic, m.DefaultReplay, m.ErrorRecovery, m.State = d.Label, d.Topic, d.DefaultReplay, d.ErrorRecovery, d.State
	}
	return m
}

func (c *call) createManaged() *answer {
	var in managedBody
	if a := c.body(&in); a != nil {
		return a
	}
	id, err := c.opt.Managed.Add(in.subscription())
	if err != nil {
		return managedRefusal(err)
	}
	a := reply(http.StatusCreated, map[string]any{"id": id, "success": true, "errors": []any{}, "warnings": []any{}, "infos": []any{}})
	a.header.Set("Location", c.managedURL(id))
	return a
}

// changeManaged replaces the metadata, as the tooling API does.
func (c *call) changeManaged(m managed.Subscription) *answer {
	var in managedBody
	if a := c.body(&in); a != nil {
		return a
	}
	next := in.subscription()
	next.ID, next.DeveloperName = m.ID, m.DeveloperName
	if next.Topic != m.Topic {
		return fail(http.StatusBadRequest, "FIELD_INTEGRITY_EXCEPTION", "The topic of a managed event subscription cannot change.", "topicName")
	}
	if err := c.opt.Managed.Change(next); err != nil {
		return managedRefusal(err)
	}
	return empty(http.StatusNoContent)
}

func managedRefusal(err error) *answer {
	switch {
	case errors.Is(err, managed.ErrDuplicate):
		return fail(http.StatusBadRequest, "DUPLICATE_DEVELOPER_NAME", err.Error(), "FullName")
	case errors.Is(err, managed.ErrLimit):
		return fail(http.StatusBadRequest, "LIMIT_EXCEEDED", err.Error())
	case errors.Is(err, managed.ErrUnknown):
		return notFound()
	}
	return fail(http.StatusBadRequest, "FIELD_INTEGRITY_EXCEPTION", err.Error())
}
