// Package gateway holds what makes JSON over HTTP out of the gRPC API: the routes and the OpenAPI document here, the
// generated handlers below. `make generate` writes both from the .proto files and routes.yaml.
package gateway

import _ "embed" // for OpenAPI

// OpenAPI is the document, OpenAPI 2.0 in JSON.
//
//go:embed openapi.swagger.json
var OpenAPI []byte
