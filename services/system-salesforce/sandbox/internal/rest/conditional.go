package rest

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/render"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

// gzipSuffix ends the tag of a compressed answer. It does not count when tags
// are compared.
const gzipSuffix = "-gzip"

// tagged reports whether rows of an object have entity tags: only accounts do.
func tagged(o *schema.Object) bool { return o.Name == "Account" }

// entityTag is a hash of everything in a record, whatever fields were asked
// for, so that it changes with every change.
func entityTag(r *store.Record) string {
	sum := sha1.Sum(render.Record(nil, "", r, r.Object.Fields))
	return `"` + base64.StdEncoding.EncodeToString(sum[:]) + `"`
}

// conditions are the preconditions of a request. The zero value is always met.
type conditions struct {
	match, noneMatch          []string
	modifiedSince, unmodified time.Time
}

// conditions reads the headers that count for an object's rows; a nil object
// stands for a description. On a write an invalid value is refused, on a read
// it is ignored.
func (c *call) conditions(o *schema.Object) (conditions, *answer) {
	var out conditions
	writes := c.method != http.MethodGet && c.method != http.MethodHead
	var bad string
	if o != nil && tagged(o) {
		for name, into := range map[string]*[]string{"If-Match": &out.match, "If-None-Match": &out.noneMatch} {
			var ok bool
			if *into, ok = entityTags(c.r.Header.Values(name)); !ok && writes {
				bad = name
			}
		}
	}
	instant := func(name string) time.Time {
		given := c.r.Header.Get(name)
		if given == "" {
			return time.Time{}
		}
		t, err := http.ParseTime(given)
		if err != nil {
			bad = name
			return time.Time{}
		}
		return t
	}
	out.unmodified = instant("If-Unmodified-Since")
	if !writes { // the header means nothing on a write
		out.modifiedSince = instant("If-Modified-Since")
	}
	if bad != "" && writes {
		return out, fail(http.StatusBadRequest, "INVALID_HEADER", "The value of the header "+bad+" is not valid.")
	}
	return out, nil
}

// entityTags reads a list of tags. It reports false, and no tags, for a list
// that is not one.
func entityTags(headers []string) ([]string, bool) {
	var out []string
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		plain := strings.TrimPrefix(part, "W/")
		if part != "*" && (len(plain) < 2 || plain[0] != '"' || plain[len(plain)-1] != '"') {
			return nil, false
		}
		out = append(out, strings.Replace(plain, gzipSuffix+`"`, `"`, 1))
	}
	return out, true
}

// has reports whether a list of tags names a record.
func has(tags []string, r *store.Record) bool {
	return slices.Contains(tags, "*") || slices.Contains(tags, entityTag(r))
}

// check answers instead of the request if a precondition is not met.
func (cond conditions) check(method string, r *store.Record) *answer {
	reads := method == http.MethodGet || method == http.MethodHead
	modified := time.Unix(r.Modified, 0)
	switch {
	case cond.match != nil && !has(cond.match, r):
		return unmet()
	case cond.match == nil && !cond.unmodified.IsZero() && modified.After(cond.unmodified):
		return unmet()
	case cond.noneMatch != nil && has(cond.noneMatch, r):
		if reads {
			return unchanged(r)
		}
		return unmet()
	case cond.noneMatch == nil && !cond.modifiedSince.IsZero() && !modified.After(cond.modifiedSince):
		return unchanged(r)
	}
	return nil
}

func unmet() *answer {
	return fail(http.StatusPreconditionFailed, "PRECONDITION_FAILED", "A precondition of the request is not met.")
}

func unchanged(r *store.Record) *answer {
	a := empty(http.StatusNotModified)
	validators(a, r)
	return a
}

// validators adds what a client needs for its next conditional request.
func validators(a *answer, r *store.Record) {
	a.header.Set("Last-Modified", time.Unix(r.Modified, 0).UTC().Format(http.TimeFormat))
	if tagged(r.Object) {
		a.header.Set("ETag", entityTag(r))
	}
}

// modelTime is when the object model last changed, as far as clients can tell:
// it does not change while the server runs, so any time in the past will do.
func modelTime() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// described answers a description, or that it has not changed.
func (c *call) described(answerWith func() *answer) *answer {
	cond, _ := c.conditions(nil) // a description is only read
	if !cond.unmodified.IsZero() && modelTime().After(cond.unmodified) {
		return unmet()
	}
	a := empty(http.StatusNotModified)
	if cond.modifiedSince.IsZero() || modelTime().After(cond.modifiedSince) {
		a = answerWith()
	}
	a.header.Set("Last-Modified", modelTime().Format(http.TimeFormat))
	return a
}
