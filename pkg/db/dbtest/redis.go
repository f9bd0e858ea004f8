package dbtest

import (
	"os"
	"testing"
)

// RedisEnv names the environment variable with the URL of the Redis server to test with.
const RedisEnv = "SELFSAME_TEST_REDIS"

// Redis returns the URL of the Redis server to test with. All tests share it: what a test writes there begins with a prefix of
// its own. Without a server the test is skipped, or fails when CI=true.
func Redis(t testing.TB) string {
	t.Helper()
	url := os.Getenv(RedisEnv)
	if url == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not set, and CI must test Redis", RedisEnv)
		}
		t.Skipf("%s is not set", RedisEnv)
	}
	return url
}
