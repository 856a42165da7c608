"""Webhooks out: clients' programs are told what happens, by the Standard Webhooks format.

`outbox` writes down what is to be told, in the transaction in which it happens; `sending` delivers it; `endpoints` is
what people and programs do with endpoints; `lines` fans out what provisioning noted; `retention` forgets.
"""
