// Package shadowscaler lets workloads be declared as objects of Kubernetes: the custom resource ShadowScaler,
// foreshadow.dev/v1alpha1. Its spec has the keys of a workload in the configuration file in camelCase, and is read into the same
// workload.Workload; the name of the object is the name of the workload. The schema is made from that type, so that neither can
// have a key that the other lacks. The key of pseudonyms is a secret and stays in the configuration.
//
//	kubectl apply ──▶ API server: schema ──▶ Load ──▶ services, as if it stood in their file
//	                        ▲                  Changed ──▶ a service ends, and is started with what is declared now
//	                        └── status: conditions, recommendation and reason, size ◀── Reporter, in the provisioner
package shadowscaler
