"""Fine-tuning of a BERT-like encoder on scores or battles, on the CPU; needs torch.

Modules
-------
samples
    Prompts with what the loss compares them with: scores of models, or who won.
network
    The encoder with a head on top, and the losses.
descent
    The passes over the data; `saved_state` keeps them, so that a run that was stopped goes on.
validation
    How the experts head does on prompts that no pass has seen.
fit
    All of it together: from tables to a router.
"""
