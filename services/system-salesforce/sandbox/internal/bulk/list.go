package bulk

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
)

// listPage is how many jobs one page of a list holds.
const listPage = 1000

// list names all jobs of some kinds, in an order that means nothing.
func (s *Service) list(c Call, under string, kinds ...string) *Response {
	q := c.Request.URL.Query()
	after, refusal := position(q)
	if refusal != nil {
		return refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	page := s.page(q, kinds, after)
	out := struct {
		Done    bool    `json:"done"`
		Records []info  `json:"records"`
		Next    *string `json:"nextRecordsUrl"`
	}{Done: true, Records: []info{}}
	if len(page) > listPage {
		page = page[:listPage]
		last := page[listPage-1].id
		next := fmt.Sprintf("/services/data/v%s/jobs/%s?queryLocator=01g%s-%d", c.Version, under, last[3:], listPage)
		for _, k := range []string{"jobType", "isPkChunkingEnabled", "concurrencyMode"} {
			if v := q.Get(k); v != "" {
				next += "&" + k + "=" + url.QueryEscape(v)
			}
		}
		out.Done, out.Next = false, &next
	}
	for _, j := range page {
		out.Records = append(out.Records, j.info(false))
	}
	return reply(http.StatusOK, out)
}

// position reads the locator of a list: what the last page ended with.
func position(q url.Values) (uint64, *Response) {
	locator := q.Get("queryLocator")
	if locator == "" {
		return 0, nil
	}
	tail, _, _ := strings.Cut(locator, "-")
	n, ok := sfid.Number(tail)
	if !strings.HasPrefix(tail, "01g") || !ok {
		return 0, refuse(http.StatusBadRequest, "INVALID_QUERY_LOCATOR", "invalid query locator")
	}
	return mix(n), nil
}

// mix spreads job numbers, no two to the same place, so that a list is not in
// order of creation.
func mix(n int) uint64 {
	x := uint64(n) * 0x9e3779b97f4a7c15
	x ^= x >> 29
	return x * 0xbf58476d1ce4e5b9
}

// page returns the jobs that a list shows, one more than fit if there are
// more. The lock is held.
func (s *Service) page(q url.Values, kinds []string, after uint64) []*job {
	type place struct {
		at uint64
		j  *job
	}
	var all []place
	for _, j := range s.jobs {
		n, _ := sfid.Number(j.id)
		if p := mix(n); p > after && slices.Contains(kinds, j.kind) && listed(q, j) {
			all = append(all, place{p, j})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	all = all[:min(len(all), listPage+1)]
	out := make([]*job, len(all))
	for i, p := range all {
		out[i] = p.j
	}
	return out
}

// listed applies the filters of a list.
func listed(q url.Values, j *job) bool {
	mode := "Parallel"
	if j.serial {
		mode = "Serial"
	}
	return (q.Get("jobType") == "" || strings.EqualFold(q.Get("jobType"), j.kind)) &&
		(q.Get("concurrencyMode") == "" || strings.EqualFold(q.Get("concurrencyMode"), mode)) &&
		(q.Get("isPkChunkingEnabled") == "" || strings.EqualFold(q.Get("isPkChunkingEnabled"), fmt.Sprint(j.chunks)))
}
