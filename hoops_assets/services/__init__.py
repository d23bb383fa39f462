"""Who runs each step: one folder a step, each with its contract and the providers that keep it.

What belongs here: asking somebody (this machine, SageMaker, Vertex AI, Azure ML) to run a workload or to keep a record.
A provider's module may be heavy and is imported when it is first used.
"""
