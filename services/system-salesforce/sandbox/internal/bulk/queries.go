package bulk

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/query"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/schema"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/sfid"
	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox/internal/store"
)

func (s *Service) queryAPI(c Call, seg []string) *Response {
	if len(seg) == 0 {
		switch c.Method {
		case http.MethodPost:
			return s.createQuery(c)
		case http.MethodGet:
			return s.list(c, "query", queryJob)
		}
		return wrongMethod(c.Method)
	}
	id, _ := sfid.Normal(seg[0])
	j := s.find(id, queryJob)
	switch {
	case j == nil || len(seg) > 2:
		return notFound()
	case len(seg) == 1:
		return s.one(c, j)
	case seg[1] != "results" && seg[1] != "resultPages":
		return notFound()
	case c.Method != http.MethodGet:
		return wrongMethod(c.Method)
	case seg[1] == "results":
		return s.answer(c, j)
	}
	return s.pages(c, j)
}

func (s *Service) createQuery(c Call) *Response {
	body, err := unpack(c.Request)
	if err != nil {
		return unreadableBody()
	}
	var in wanted
	if refusal := decode(body, &in); refusal != nil {
		return refusal
	}
	j := &job{kind: queryJob, state: uploadComplete, version: c.Version, user: c.User, operation: in.Operation, soql: in.Query, deleted: in.Operation == "queryAll"}
	switch {
	case in.Operation != "query" && in.Operation != "queryAll":
		return problem("InvalidJob", "The operation must be query or queryAll")
	case in.ContentType != "" && in.ContentType != "CSV":
		return problem("InvalidJob", "The only content type supported is CSV")
	case strings.TrimSpace(in.Query) == "":
		return problem("InvalidJob", "No query is specified")
	}
	if refusal := j.shape(in.Delimiter, in.Ending); refusal != nil {
		return refusal
	}
	plan, fail := query.CompileAs(s.opt.Schema, in.Query, query.Options{Now: s.opt.Now(), Version: major(c.Version), Hidden: c.Hidden, Fields: c.Fields, User: c.User})
	if fail != nil {
		return refuse(http.StatusBadRequest, fail.Code, fail.Message)
	}
	j.plan, j.object = plan, plan.Object
	words := significant(in.Query)
	j.chunks = !mentions(words, "ORDER") && !mentions(words, "LIMIT")
	if !s.opt.QueryJobs.Take(1) {
		return problem("ExceededQuota", "The daily allocation of query jobs is used up")
	}
	return s.keep(j)
}

// significant returns the words and commas of a statement in upper case, without
// its texts.
func significant(soql string) []string {
	var out []string
	word := ""
	end := func() {
		if word != "" {
			out = append(out, strings.ToUpper(word))
			word = ""
		}
	}
	for i := 0; i < len(soql); i++ {
		c := soql[i]
		switch {
		case c == '\'':
			end()
			for i++; i < len(soql) && soql[i] != '\''; i++ {
				if soql[i] == '\\' {
					i++
				}
			}
		case c == ',':
			end()
			out = append(out, ",")
		case c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			word += string(c)
		default:
			end()
		}
	}
	end()
	return out
}

// mentions looks for a keyword.
func mentions(words []string, want string) bool {
	for i, w := range words {
		// A field of that name is followed by a comma or FROM, or compared.
		if w == want && i > 0 && words[i-1] != "," && words[i-1] != "SELECT" {
			return true
		}
	}
	return false
}

// query processes a query job: its rows are written to a file.
func (s *Service) query(ctx context.Context, j *job) {
	began := s.opt.Now()
	file, lines, message := s.collect(ctx, j)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil || !j.running() {
		return
	}
	now := s.opt.Now()
	j.active = now.Sub(began)
	j.file, j.lines, j.message = file, lines, string(message)
	if message != "" {
		j.enter(failed, now)
		return
	}
	j.enter(jobComplete, now)
}

// maxFile is the size of one result file.
const maxFile = 1 << 30

func (s *Service) collect(ctx context.Context, j *job) (*blob, []uint32, trouble) {
	if !s.goOn(ctx, j) {
		return nil, nil, ""
	}
	if refusal := j.plan.BulkRefusal(); refusal != nil {
		return nil, nil, trouble("FeatureNotEnabled : " + refusal.Message)
	}
	columns := j.plan.Columns()
	var rows []*store.Record
	_ = s.opt.Store.Read(func(v store.View) error { // fn never fails
		rows = j.plan.Run(v, j.deleted)
		return nil
	})
	file, lines := &blob{limit: maxFile}, make([]uint32, 0, len(rows))
	var err error
	for len(rows) > 0 && err == nil {
		if !s.goOn(ctx, j) {
			return nil, nil, ""
		}
		part := rows[:min(len(rows), batchRows)]
		rows = rows[len(part):]
		var text []byte
		err = s.opt.Store.Read(func(v store.View) error {
			for _, r := range part {
				lines = append(lines, uint32(file.size)+uint32(len(text)))
				text = j.line(text, v, r, columns)
			}
			_, err := file.Write(text)
			return err
		})
		s.mu.Lock()
		j.processed = int64(len(lines))
		s.mu.Unlock()
	}
	if err != nil || !s.opt.FileBytes.Take(file.size) {
		return nil, nil, "ExceededQuota : The result is too large or the allocation of result files is used up"
	}
	return file, lines, ""
}

// line appends one row of the result.
func (j *job) line(b []byte, v store.View, r *store.Record, columns []query.Column) []byte {
	for i, c := range columns {
		if i > 0 {
			b = append(b, j.delim())
		}
		b = append(b, '"')
		b = append(value(b, c.Value(v, r), c.Field), '"')
	}
	return append(b, j.eol()...)
}

// major is the number of a version such as 62.0; 0, which means the newest, if
// it is none.
func major(version string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(version, ".0"))
	return n
}

// value appends a value without its quotes; null is nothing.
func value(b []byte, of any, f *schema.Field) []byte {
	switch x := of.(type) {
	case string:
		for i := range len(x) {
			if x[i] == '"' {
				b = append(b, '"')
			}
			b = append(b, x[i])
		}
	case bool:
		b = strconv.AppendBool(b, x)
	case float64:
		start := len(b)
		b = strconv.AppendFloat(b, x, 'f', -1, 64)
		if f.Type != schema.Int && !strings.Contains(string(b[start:]), ".") {
			b = append(b, ".0"...)
		}
	case int64:
		layout := "2006-01-02T15:04:05.000Z"
		if f.Type == schema.Date {
			layout = time.DateOnly
		}
		b = time.UnixMilli(x).UTC().AppendFormat(b, layout)
	}
	return b
}

// answer is one page of the result: everything, unless the client asks for
// fewer rows. The two Sforce headers are always there.
func (s *Service) answer(c Call, j *job) *Response {
	from, size, refusal := s.part(c, j)
	if refusal != nil {
		return refusal
	}
	to := min(len(j.lines), from+size)
	r := download(c, func(w *bufio.Writer) error {
		var head []byte
		for i, col := range j.plan.Columns() {
			if i > 0 {
				head = append(head, j.delim())
			}
			head = appendQuoted(head, col.Path)
		}
		if _, err := w.Write(append(head, j.eol()...)); err != nil {
			return fmt.Errorf("write the header: %w", err)
		}
		if from == to {
			return nil
		}
		end := j.file.size
		if to < len(j.lines) {
			end = int64(j.lines[to])
		}
		if _, err := io.Copy(w, j.file.section(int64(j.lines[from]), end)); err != nil {
			return fmt.Errorf("write rows: %w", err)
		}
		return nil
	})
	r.Header.Set("Sforce-NumberOfRecords", strconv.Itoa(to-from))
	r.Header.Set("Sforce-Locator", "null")
	if to < len(j.lines) {
		r.Header.Set("Sforce-Locator", locator(to))
	}
	return r
}

func locator(row int) string { return base64.RawStdEncoding.EncodeToString([]byte(strconv.Itoa(row))) }

// place is the row that a locator stands for.
func place(locator string, rows int) (int, bool) {
	if locator == "" {
		return 0, true
	}
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(locator, "="))
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(string(text))
	return n, err == nil && n >= 0 && n < rows
}

// part reads which rows of a finished job a request is about.
func (s *Service) part(c Call, j *job) (from, size int, refusal *Response) {
	s.mu.Lock()
	state, rows := j.state, len(j.lines)
	s.mu.Unlock()
	switch {
	case state != jobComplete:
		return 0, 0, problem("InvalidJobState", "The results of a query job can be read when it is complete")
	case c.Version != j.version:
		return 0, 0, refuse(http.StatusConflict, "API_VERSION_CONFLICT", "The results can be read only with the API version "+j.version+" that created the job")
	}
	q := c.Request.URL.Query()
	size = max(1, rows)
	if given := q.Get("maxRecords"); given != "" {
		var err error
		if size, err = strconv.Atoi(given); err != nil || size < 1 {
			return 0, 0, refuse(http.StatusBadRequest, "INVALID_QUERY_PARAMETER", "maxRecords must be a positive number")
		}
	}
	from, ok := place(q.Get("locator"), rows)
	if !ok {
		return 0, 0, refuse(http.StatusBadRequest, "INVALID_QUERY_LOCATOR", "invalid query locator")
	}
	return from, size, nil
}

// maxPages is how many parts of a result are offered for reading side by side.
const maxPages = 5

// pages names the next parts of a result.
func (s *Service) pages(c Call, j *job) *Response {
	from, size, refusal := s.part(c, j)
	if refusal != nil {
		return refusal
	}
	type page struct {
		URL string `json:"resultUrl"`
	}
	base := "/services/data/v" + c.Version + "/jobs/query/" + j.id
	out := struct {
		Pages []page  `json:"resultPages"`
		Next  *string `json:"nextRecordsUrl"`
		Done  bool    `json:"done"`
	}{Pages: []page{}, Done: true}
	limit := ""
	if size < len(j.lines) {
		limit = "&maxRecords=" + strconv.Itoa(size)
	}
	for len(out.Pages) < maxPages && (from < len(j.lines) || len(out.Pages) == 0) {
		where := ""
		if from > 0 {
			where = "locator=" + locator(from)
		}
		out.Pages = append(out.Pages, page{strings.TrimSuffix(strings.Replace(base[1:]+"/results?"+where+limit, "?&", "?", 1), "?")})
		from += size
	}
	if from < len(j.lines) {
		next := base + "/resultPages?locator=" + locator(from) + limit
		out.Next, out.Done = &next, false
	}
	return reply(http.StatusOK, out)
}
