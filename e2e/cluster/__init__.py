"""What needs a real Kubernetes: `CORKBOARD_KUBECONFIG=FILE python -m pytest e2e/cluster`."""
