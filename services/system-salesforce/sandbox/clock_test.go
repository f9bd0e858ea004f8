package sandbox_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClock(t *testing.T) {
	t.Parallel()
	t.Run("answers carry the time of the organization's clock", func(t *testing.T) {
		t.Parallel()
		o := setup(t)
		for range 2 {
			resp, err := o.client.Get(o.base + "/services/data")
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, o.clock.now().UTC().Format(http.TimeFormat), resp.Header.Get("Date"))
			o.clock.advance(72 * time.Hour)
		}
	})
}
