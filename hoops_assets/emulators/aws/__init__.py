"""Amazon SageMaker on loopback, in front of moto's S3, CloudWatch, Logs, STS and Application Auto Scaling.

What belongs here: SageMaker's actions as states that really change and processes that really run. moto answers SageMaker
with finished jobs at once, forgets half of a request and lacks lineage, updates and stops; so all SageMaker actions that
we use are answered here, and moto, behind it, keeps the other services.
"""

from hoops_assets.emulators.aws.server import AwsEmulator as AwsEmulator
