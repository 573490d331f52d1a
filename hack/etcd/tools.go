//go:build tools

// Package tools names the command that hack/etcd builds, so that go.mod and go.sum cover it.
package tools

import _ "go.etcd.io/etcd/server/v3"
