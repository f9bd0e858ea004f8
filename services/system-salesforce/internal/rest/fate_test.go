package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-salesforce/internal/auth"
)

// somebody has sessions of a user whose id is known.
type somebody struct {
	fixedSessions
	user string
}

func (s *somebody) Session(ctx context.Context) (auth.Session, error) {
	session, err := s.fixedSessions.Session(ctx)
	session.UserID = s.user
	return session, err
}

func TestFates(t *testing.T) {
	t.Parallel()
	const alive, binned, hidden = "001000000000001AAA", "001000000000002AAA", "001000000000003AAA"
	const ok = http.StatusOK
	type answer struct {
		status int
		body   string
	}
	two := answer{ok, `{"done":true,"records":[{"Id":"` + alive + `","IsDeleted":false},{"Id":"` + binned + `","IsDeleted":true}]}`}
	three := answer{ok, `{"done":true,"records":[{"Id":"` + binned + `","IsDeleted":true},{"Id":"` + hidden + `","IsDeleted":false}]}`}
	everything := answer{ok, `{"done":true,"records":[{"SobjectType":"Account","PermissionsViewAllRecords":false},{"SobjectType":"Account","PermissionsViewAllRecords":true}]}`}
	part := answer{ok, `{"done":true,"records":[{"SobjectType":"Contact","PermissionsViewAllRecords":true}]}`}
	refusal := answer{http.StatusBadRequest, `[{"errorCode":"INVALID_TYPE","message":"sObject type 'ObjectPermissions' is not supported."}]`}
	noField := answer{http.StatusBadRequest, `[{"errorCode":"INVALID_FIELD","message":"No such column 'IsDeleted' on entity"}]`}
	for name, c := range map[string]struct {
		user    string
		deleted []answer
		sight   []answer
		want    []Fate
		calls   int
	}{
		"a user who does not see every record learns nothing about one that is not told of": {"005", []answer{two}, []answer{part}, []Fate{Alive, Gone, Untold}, 2},
		"to a user who sees every record it is gone":                                        {"005", []answer{two, two}, []answer{everything, everything}, []Fate{Alive, Gone, Gone}, 4},
		"a permission that ends meanwhile proves nothing":                                   {"005", []answer{two, two}, []answer{everything, part}, []Fate{Alive, Gone, Untold}, 4},
		"a permission that came meanwhile shows the record":                                 {"005", []answer{two, three}, []answer{everything, part}, []Fate{Untold, Gone, Alive}, 4},
		"an org that does not say what the user sees proves nothing":                        {"005", []answer{two}, []answer{refusal}, []Fate{Alive, Gone, Untold}, 2},
		"a session without its user proves nothing":                                         {"", []answer{two}, nil, []Fate{Alive, Gone, Untold}, 1},
		"an object that knows no deletion says nothing by itself":                           {"005", []answer{noField}, []answer{part}, []Fate{Untold, Untold, Untold}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			deleted, sight := c.deleted, c.sight
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls++
				queue := &deleted
				if strings.Contains(r.URL.Query().Get("q"), "FROM ObjectPermissions") {
					queue = &sight
				}
				if len(*queue) == 0 {
					w.WriteHeader(http.StatusTeapot)
					return
				}
				a := (*queue)[0]
				*queue = (*queue)[1:]
				w.WriteHeader(a.status)
				_, _ = w.Write([]byte(a.body))
			}))
			t.Cleanup(server.Close)
			client := New(Options{Sessions: &somebody{fixedSessions{url: server.URL}, c.user}, HTTP: server.Client(), APIVersion: "66.0"})
			got, err := client.Fates(t.Context(), "Account", []string{alive, binned, hidden[:15]})
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			require.Equal(t, c.calls, calls)
		})
	}
	t.Run("an org that cannot be asked is an error, not an answer", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Query().Get("q"), "FROM ObjectPermissions") {
				w.WriteHeader(http.StatusForbidden)
				_ = json.NewEncoder(w).Encode([]map[string]string{{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "m"}})
				return
			}
			_, _ = w.Write([]byte(two.body))
		}))
		t.Cleanup(server.Close)
		client := New(Options{Sessions: &somebody{fixedSessions{url: server.URL}, "005"}, HTTP: server.Client(), APIVersion: "66.0"})
		_, err := client.Fates(t.Context(), "Account", []string{hidden})
		require.Equal(t, fault.Exhausted, fault.KindOf(err))
	})
}
