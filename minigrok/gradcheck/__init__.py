"""The laws of derivatives, on every layer and on the network, at sizes of an auditor's choosing."""
