package rpc

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/mapping"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/rest"
)

// settle is how old a modification time must be before no other record can get the same one any more, clocks included.
const settle = time.Minute

// cursor is the last record of a page.
type cursor struct {
	// At is its time in Unix milliseconds.
	At int64 `json:"t"`
	// ID is its id; empty means that everything of that millisecond is read again.
	ID string `json:"i,omitempty"`
}

func soqlTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// list reads a page of an object, as far as it meets the conditions, in the order of (SystemModstamp, Id). That pair makes every place in the list a name of its
// own, so thousands of records of one second neither block the list nor fall out of it.
func (s *Server) list(ctx context.Context, o *mapping.Object, size int32, token string, conditions ...string) (rows []rest.Record, next string, err error) {
	return s.listColumns(ctx, o, o.Columns(), size, token, conditions...)
}

// listColumns is list for some columns; Id and SystemModstamp must be among them.
func (s *Server) listColumns(ctx context.Context, o *mapping.Object, columns []string, size int32, token string, conditions ...string) (rows []rest.Record, next string, err error) {
	n, err := page.Size(size, 2000, 2000)
	if err != nil {
		return nil, "", err
	}
	filter := page.Hash(append([]string{"list", o.Name, o.SObject}, conditions...)...)
	var c cursor
	if err := page.Decode(token, filter, &c); err != nil {
		return nil, "", err
	}
	switch {
	case token == "":
	case c.ID == "":
		conditions = append(conditions, "SystemModstamp >= "+soqlTime(c.At))
	default:
		conditions = append(conditions, fmt.Sprintf("(SystemModstamp > %[1]s OR (SystemModstamp = %[1]s AND Id > %[2]s))", soqlTime(c.At), rest.Quote(c.ID)))
	}
	where := ""
	if len(conditions) > 0 {
		where = " WHERE " + strings.Join(conditions, " AND ")
	}
	soql := fmt.Sprintf("SELECT %s FROM %s%s ORDER BY SystemModstamp ASC, Id ASC LIMIT %d", strings.Join(columns, ", "), o.SObject, where, n)
	rows, err = s.CRM.Query(ctx, soql)
	if err != nil || len(rows) < n {
		return rows, "", err
	}
	after, err := nextCursor(rows, s.Now())
	if err != nil {
		return nil, "", err
	}
	next, err = page.Encode(filter, after)
	return rows, next, err
}

// nextCursor returns the place after a full page. While its last millisecond is so recent that another record may still get
// the same one with a lower id, that millisecond is read again; a page that holds nothing but that millisecond goes on by id, for
// the list must move.
func nextCursor(rows []rest.Record, now time.Time) (cursor, error) {
	first, err := mapping.Time(rows[0]["SystemModstamp"])
	if err != nil {
		return cursor{}, unreadable(err)
	}
	last, err := mapping.Time(rows[len(rows)-1]["SystemModstamp"])
	if err != nil {
		return cursor{}, unreadable(err)
	}
	id, _ := rows[len(rows)-1]["Id"].(string)
	if id == "" {
		return cursor{}, fault.New(fault.Internal, rest.ReasonAnswerInvalid, "a record of the CRM has no id")
	}
	c := cursor{At: last.UnixMilli(), ID: id}
	if last.After(now.Add(-settle)) && first.Before(last) {
		c.ID = ""
	}
	return c, nil
}
