package target_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/idempotent"
	"github.com/selfsame-io/selfsame/pkg/idempotent/target"
	"github.com/selfsame-io/selfsame/pkg/retry"
)

var quick = retry.Policy{MaxAttempts: 5, Backoff: retry.Backoff{Min: time.Microsecond, Max: time.Millisecond}}

func key(name string) string { return idempotent.ChildOf("0123456789abcdef", "target", name) }

func order(p *peer, body string) target.Request {
	return target.Request{Method: http.MethodPost, URL: p.srv.URL + "/orders", Body: []byte(body), FirstSent: p.clock.Now()}
}

func header(p *peer, d target.Dialect) target.Header {
	tr := &http.Transport{}
	p.t.Cleanup(tr.CloseIdleConnections)
	return target.Header{Client: &http.Client{Transport: tr}, Dialect: d, Retry: quick, Now: p.clock.Now}
}

// dialects are the servers that keep keys, with the client that speaks to them.
func dialects(t *testing.T, fn func(t *testing.T, p *peer, h target.Header)) {
	t.Helper()
	t.Parallel()
	for name, setup := range map[string]func(t *testing.T) (*peer, target.Dialect){
		"stripe":   func(t *testing.T) (*peer, target.Dialect) { return stripePeer(t), target.Stripe() },
		"zuora":    func(t *testing.T) (*peer, target.Dialect) { return zuoraPeer(t), target.Zuora() },
		"netsuite": func(t *testing.T) (*peer, target.Dialect) { return netsuitePeer(t), target.NetSuite() },
		"repeatable": func(t *testing.T) (*peer, target.Dialect) {
			return repeatablePeer(t, time.Hour, true), target.Repeatable(time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, d := setup(t)
			fn(t, p, header(p, d))
		})
	}
}

func TestHeader_AnAnswerThatIsLostIsFetchedAgain(t *testing.T) {
	dialects(t, func(t *testing.T, p *peer, h target.Header) {
		p.expect(loseAnswer)
		first, err := h.Do(t.Context(), key("a"), order(p, "one"))
		require.NoError(t, err)
		require.Equal(t, 2, p.asked())
		again, err := h.Do(t.Context(), key("a"), order(p, "one"))
		require.NoError(t, err)
		require.Equal(t, first.Header.Get("Location")+string(first.Body[:min(len(first.Body), 14)]),
			again.Header.Get("Location")+string(again.Body[:min(len(again.Body), 14)]), "the same result")
		_, err = h.Do(t.Context(), key("b"), order(p, "two"))
		require.NoError(t, err)
		require.Equal(t, 2, p.effects(), "one per key")
	})
}

func TestHeader_TellsTheReplayWhereTheTargetDoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		p *peer
		d target.Dialect
	}{"stripe": {stripePeer(t), target.Stripe()}, "netsuite": {netsuitePeer(t), target.NetSuite()}} {
		h := header(c.p, c.d)
		for i := range 2 {
			r, err := h.Do(t.Context(), key("a"), order(c.p, "one"))
			require.NoError(t, err, name)
			require.Equal(t, i == 1, r.Replayed, name)
		}
	}
}

func TestHeader_ACrashedCallerComesBackWithTheSameKey(t *testing.T) {
	dialects(t, func(t *testing.T, p *peer, h target.Header) {
		h.Retry.MaxAttempts = 1
		p.expect(loseAnswer)
		_, err := h.Do(t.Context(), key("a"), order(p, "one"))
		require.True(t, fault.Is(err, fault.Uncertain), "%v", err)
		_, err = h.Do(t.Context(), key("a"), order(p, "one"))
		require.NoError(t, err)
		require.Equal(t, 1, p.effects())
	})
}

func TestHeader_SimultaneousCallsHaveOneEffect(t *testing.T) {
	dialects(t, func(t *testing.T, p *peer, h target.Header) {
		var wg sync.WaitGroup
		h.Retry.MaxAttempts = 50
		for range 20 {
			wg.Go(func() {
				if _, err := h.Do(t.Context(), key("a"), order(p, "one")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, p.effects())
	})
}

func TestHeader_AnotherAttemptAtWorkIsAConflict(t *testing.T) {
	dialects(t, func(t *testing.T, p *peer, h target.Header) {
		if h.Dialect.Name == "NetSuite" {
			_, err := h.Do(t.Context(), key("a"), order(p, "one"))
			require.NoError(t, err, "a job is only queued: there is nothing to wait for")
			return
		}
		p.expect(slow)
		done := make(chan error, 1)
		go func() {
			_, err := h.Do(t.Context(), key("a"), order(p, "one"))
			done <- err
		}()
		<-p.running
		once := h
		once.Retry.MaxAttempts = 1
		_, err := once.Do(t.Context(), key("a"), order(p, "one"))
		require.True(t, fault.Is(err, fault.Uncertain), "%v", err)
		close(p.release)
		require.NoError(t, <-done)
		require.Equal(t, 1, p.effects())
	})
}

func TestHeader_RefusesAKeyOfAnotherRequest(t *testing.T) {
	dialects(t, func(t *testing.T, p *peer, h target.Header) {
		_, err := h.Do(t.Context(), key("a"), order(p, "one"))
		require.NoError(t, err)
		other := order(p, "other")
		other.URL = p.srv.URL + "/refunds"
		_, err = h.Do(t.Context(), key("a"), other)
		if h.Dialect.Name == "NetSuite" {
			require.NoError(t, err, "NetSuite does not compare: the child key, which differs by step, has to")
		} else {
			require.Equal(t, target.ReasonKeyReused, fault.ReasonOf(err))
		}
		require.Equal(t, 1, p.effects())
	})
}

func TestHeader_DoesNotRepeatAfterTheWindow(t *testing.T) {
	dialects(t, func(t *testing.T, p *peer, h target.Header) {
		req := order(p, "one")
		h.Retry.MaxAttempts = 1
		p.expect(loseAnswer)
		_, err := h.Do(t.Context(), key("a"), req)
		require.Error(t, err)
		p.clock.Advance(h.Dialect.Window)
		asked := p.asked()
		_, err = h.Do(t.Context(), key("a"), req)
		require.Equal(t, target.ReasonKeyExpired, fault.ReasonOf(err))
		require.Equal(t, asked, p.asked(), "not even asked: the target would do it again")
		require.Equal(t, 1, p.effects())
	})
}

func TestHeader_TriesAgainWhatWasNotTaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p *peer
		d target.Dialect
	}{{stripePeer(t), target.Stripe()}, {zuoraPeer(t), target.Zuora()}, {repeatablePeer(t, time.Hour, true), target.Repeatable(time.Hour)}} {
		c.p.expect(refuse, refuse)
		_, err := header(c.p, c.d).Do(t.Context(), key("a"), order(c.p, "one"))
		require.NoError(t, err)
		require.Equal(t, 1, c.p.effects())
		c.p.expect(refuse, refuse, refuse, refuse, refuse)
		_, err = header(c.p, c.d).Do(t.Context(), key("b"), order(c.p, "two"))
		require.True(t, fault.Is(err, fault.Unavailable), "nothing arrived, so it is not uncertain: %v", err)
	}
}

func TestHeader_AFrozenFailureIsUncertainForEver(t *testing.T) {
	t.Parallel()
	p := stripePeer(t)
	p.expect(fail)
	_, err := header(p, target.Stripe()).Do(t.Context(), key("a"), order(p, "one"))
	require.True(t, fault.Is(err, fault.Uncertain), "%v", err)
	require.Equal(t, 2, p.asked(), "asked again once; then it is known that the answer will not change")
	require.Equal(t, 1, p.effects())
}

func TestHeader_ARefusedRequestIsNotRepeated(t *testing.T) {
	t.Parallel()
	p := stripePeer(t)
	_, err := header(p, target.Stripe()).Do(t.Context(), key("a"), order(p, "invalid"))
	require.True(t, fault.Is(err, fault.Invalid), "%v", err)
	require.Equal(t, 1, p.asked())
}

func TestHeader_AnUnreachableTargetWasNotAsked(t *testing.T) {
	t.Parallel()
	p := stripePeer(t)
	req := order(p, "one")
	p.srv.Close()
	_, err := header(p, target.Stripe()).Do(t.Context(), key("a"), req)
	require.True(t, fault.Is(err, fault.Unavailable), "%v", err)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("I-09 a target that ignores the key is noticed and not called again", keyIgnored)
	t.Run("I-09 a target that takes no key is looked up before it is asked to create", func(t *testing.T) {
		t.Parallel()
		l := &ledger{}
		l.made = append(l.made, entry{ref: key("a"), id: 1}) // an attempt that nobody remembers
		id, err := guard(idempotent.NewMemoryStore(nil), l).Do(t.Context(), key("a"), "one")
		require.NoError(t, err)
		require.Equal(t, 1, id)
		require.Equal(t, 1, l.effects())
	})
}

func keyIgnored(t *testing.T) {
	t.Parallel()
	t.Run("a server that does not know Repeatable Requests", func(t *testing.T) {
		t.Parallel()
		p := repeatablePeer(t, time.Hour, false)
		_, err := header(p, target.Repeatable(time.Hour)).Do(t.Context(), key("a"), order(p, "one"))
		require.Equal(t, target.ReasonNotSupported, fault.ReasonOf(err))
		require.Equal(t, 1, p.asked(), "and it is not asked again")
	})
	t.Run("a NetSuite endpoint that answers synchronously", func(t *testing.T) {
		t.Parallel()
		p := netsuitePeer(t)
		req := order(p, "one")
		req.URL = p.srv.URL + "/sync-only"
		_, err := header(p, target.NetSuite()).Do(t.Context(), key("a"), req)
		require.Equal(t, target.ReasonNotSupported, fault.ReasonOf(err))
		require.Equal(t, 1, p.asked())
	})
}

func TestHeader_TheServersWindowCountsToo(t *testing.T) {
	t.Parallel()
	p := repeatablePeer(t, 10*time.Minute, true)
	req := order(p, "one")
	p.clock.Advance(30 * time.Minute)
	_, err := header(p, target.Repeatable(24*time.Hour)).Do(t.Context(), key("a"), req) // we believe in a longer one
	require.Equal(t, target.ReasonKeyExpired, fault.ReasonOf(err))
	require.Zero(t, p.effects())
}

func TestIETF_QuotesTheKey(t *testing.T) {
	t.Parallel()
	got := ""
	p := newPeer(t, func(_ *peer, w http.ResponseWriter, r *http.Request, _ []byte) {
		got = r.Header.Get("Idempotency-Key")
		w.Header().Set("Idempotent-Replayed", "true")
		w.WriteHeader(http.StatusOK)
	})
	r, err := header(p, target.IETF(time.Hour)).Do(t.Context(), "abc", order(p, "one"))
	require.NoError(t, err)
	require.True(t, r.Replayed)
	require.Equal(t, `"abc"`, got)
}

func TestUUID_IsOneOfVersion8(t *testing.T) {
	t.Parallel()
	require.Equal(t, "388bd503-3309-87f3-b6e4-7102bcaeca88", target.UUID("a"), "a change would be a new key space")
	require.NotEqual(t, target.UUID("a"), target.UUID("b"))
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, target.UUID("a"))
}

// account upserts at the Salesforce peer.
type account struct{ p *peer }

func (a account) Put(ctx context.Context, naturalKey string, body string) (string, bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, a.p.srv.URL+"/sobjects/Account/Ext__c/"+naturalKey, nil)
	if err != nil {
		return "", false, err
	}
	req.Header.Set("X-Body", body)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", false, fault.Wrap(fault.Uncertain, "", err, "lost")
	}
	defer resp.Body.Close()
	var out struct {
		ID      string
		Created bool
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated:
		return out.ID, out.Created, json.NewDecoder(resp.Body).Decode(&out)
	case http.StatusBadRequest:
		return "", false, fault.New(fault.AlreadyExists, "DUPLICATE_VALUE", "lost the race")
	default:
		return "", false, fault.New(fault.Unavailable, "", "busy")
	}
}

func TestUpsert_OneRecordWhateverHappens(t *testing.T) {
	t.Parallel()
	p := salesforcePeer(t)
	u := target.Upsert[string, string]{Target: account{p}, NaturalKey: func(s string) string { return s }, Retry: quick}
	var _ target.Effect[string, string] = u
	p.expect(refuse, loseAnswer, loseAnswer)
	_, err := u.Do(t.Context(), "", "k1")
	require.NoError(t, err)
	require.Equal(t, 1, p.effects())

	p.expect(loseAnswer, loseAnswer, loseAnswer, loseAnswer, loseAnswer)
	_, err = u.Do(t.Context(), "", "k2")
	require.True(t, fault.Is(err, fault.Uncertain), "%v", err)
	_, err = u.Do(t.Context(), "", "k2")
	require.NoError(t, err)
	require.Equal(t, 2, p.effects())
	_, err = u.Do(t.Context(), "", "")
	require.True(t, fault.Is(err, fault.Invalid))
}

func TestUpsert_TheLoserOfTheRaceChangesWhatTheWinnerMade(t *testing.T) {
	t.Parallel()
	p := salesforcePeer(t)
	u := target.Upsert[string, string]{Target: account{p}, NaturalKey: func(s string) string { return s }, Retry: quick}
	p.expect(slow)
	done := make(chan error, 1)
	go func() {
		_, err := u.Do(t.Context(), "", "k")
		done <- err
	}()
	<-p.running
	_, err := u.Do(t.Context(), "", "k")
	require.NoError(t, err)
	close(p.release)
	require.NoError(t, <-done)
	require.Equal(t, 1, p.effects())
}

func TestHeader_ARefusalDoesNotTakeBackATryWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status   int
		replayed string
		want     fault.Kind
	}{
		"the credentials ended meanwhile":            {http.StatusUnauthorized, "", fault.Uncertain},
		"the permission was withdrawn":               {http.StatusForbidden, "", fault.Uncertain},
		"the path is gone":                           {http.StatusNotFound, "", fault.Uncertain},
		"the key is said to be another request's":    {http.StatusUnprocessableEntity, "", fault.Uncertain},
		"a refusal that the target kept is definite": {http.StatusForbidden, "true", fault.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tries := 0
			h := target.Header{Dialect: target.IETF(time.Hour), Retry: quick, Client: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				if tries++; tries == 1 {
					return nil, io.ErrUnexpectedEOF // executed, and not heard
				}
				return &http.Response{StatusCode: c.status, Header: http.Header{"Idempotent-Replayed": {c.replayed}}, Body: http.NoBody}, nil
			})}}
			_, err := h.Do(t.Context(), key("a"), target.Request{Method: http.MethodPost, URL: "http://target/orders"})
			require.True(t, fault.Is(err, c.want), "%v", err)
			require.Equal(t, 2, tries)
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
