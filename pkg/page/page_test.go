package page_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/pkg/page"
)

type cursor struct {
	Updated int64
	ID      string
}

func TestToken(t *testing.T) {
	t.Parallel()
	filter := page.Hash("customers", "country=DE")
	token, err := page.Encode(filter, cursor{42, "a/ü\x00"})
	require.NoError(t, err)

	t.Run("returns the cursor to the query it was made for", func(t *testing.T) {
		t.Parallel()
		var c cursor
		require.NoError(t, page.Decode(token, filter, &c))
		require.Equal(t, cursor{42, "a/ü\x00"}, c)
	})
	t.Run("an empty token is the first page", func(t *testing.T) {
		t.Parallel()
		c := cursor{ID: "start"}
		require.NoError(t, page.Decode("", filter, &c))
		require.Equal(t, "start", c.ID)
	})
	for name, bad := range map[string]string{
		"another query's":  must(page.Encode(page.Hash("customers", "country=FR"), cursor{})),
		"another cursor's": must(page.Encode(filter, map[string]int{"Other": 1})),
		"a cut one":        token[:len(token)-3],
		"an altered one":   token + "AA",
		"not base64":       "!!!",
		"not a token":      base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"f":"` + filter + `"}`)),
		"a newer version":  base64.RawURLEncoding.EncodeToString([]byte(`{"v":2,"f":"` + filter + `","c":{}}`)),
		"a huge one":       strings.Repeat("A", page.MaxToken+1),
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			t.Parallel()
			err := page.Decode(bad, filter, &cursor{})
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.Equal(t, fault.ReasonPageTokenInvalid, fault.ReasonOf(err))
		})
	}
	t.Run("is never longer than what is accepted", func(t *testing.T) {
		t.Parallel()
		_, err := page.Encode(filter, cursor{ID: strings.Repeat("x", page.MaxToken)})
		require.Error(t, err)
	})
}

func must(token string, err error) string {
	if err != nil {
		panic(err)
	}
	return token
}

func TestHash_SeparatesItsParts(t *testing.T) {
	t.Parallel()
	require.NotEqual(t, page.Hash("ab", "c"), page.Hash("a", "bc"))
	require.NotEqual(t, page.Hash("a"), page.Hash("a", ""))
}

func TestSize(t *testing.T) {
	t.Parallel()
	for requested, want := range map[int32]int{0: 50, 1: 1, 200: 200, 201: 200} {
		n, err := page.Size(requested, 50, 200)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	_, err := page.Size(-1, 50, 200)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func FuzzDecode(f *testing.F) {
	filter := page.Hash("x")
	f.Add(must(page.Encode(filter, cursor{1, "a"})))
	f.Add("")
	f.Add("e30")
	f.Fuzz(func(t *testing.T, token string) {
		var c cursor
		err := page.Decode(token, filter, &c)
		if err != nil {
			if fault.ReasonOf(err) != fault.ReasonPageTokenInvalid {
				t.Fatalf("unexpected reason: %v", err)
			}
			return
		}
		if token == "" {
			return
		}
		again, err := page.Encode(filter, c)
		if err != nil {
			t.Fatal(err)
		}
		var d cursor
		if err := page.Decode(again, filter, &d); err != nil || c != d {
			t.Fatalf("%+v became %+v: %v", c, d, err)
		}
	})
}

func Example() {
	filter := page.Hash("ListCustomers", "country=DE", "order=name")
	token, err := page.Encode(filter, cursor{Updated: 7, ID: "c-42"})
	if err != nil {
		panic(err)
	}
	var after cursor
	fmt.Println(page.Decode(token, filter, &after), after.ID)
	fmt.Println(fault.ReasonOf(page.Decode(token, page.Hash("other"), &after)))
	// Output:
	// <nil> c-42
	// PAGE_TOKEN_INVALID
}
