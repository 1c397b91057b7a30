"""Everyday prompts: what a prompt is like when nothing is known of it.

The mean embedding of these is taken from every embedding before cosines are formed. Without that, any two
prompts with a few symbols or common words in common look alike. As the texts are fixed, whether a pair is
found depends on its own two texts alone.
"""

from __future__ import annotations

__all__ = ["EVERYDAY_PROMPTS"]

EVERYDAY_PROMPTS = (
    "What is the capital of a country in South America, and how many people live there?",
    "Which of the following best describes the function of the heart?\nA. pump\nB. filter\nC. store\nD. sense",
    "If f(x) = 3x^2 + 2x - 5 and g(x) = 4x + 1, what is the value of f(g(2))?\nA. 10\nB. 238\nC. -5\nD. 1/2",
    "Let $x$ and $y$ be real numbers such that $x^2 + y^2 = 25$. Find the largest value of $\\frac{x}{y+10}$.",
    "A shop sells 24 apples at $0.50 each and 36 pears at $0.75 each. How much money does it take in a week?",
    "Write a short story about a child who finds an old map in the attic of her grandmother's house.",
    "Write a Python function that returns the n-th prime number. ```python\ndef prime(n: int) -> int:\n    ...```",
    "Explain how a bill becomes law, and what role the courts and the president have in it.",
    "A 45-year-old woman comes to the physician because of chest pain and fever for 3 days. What is the diagnosis?",
    "According to the theory of supply and demand, an increase in price will cause which of the following?",
    "This question refers to the following information. The people of the empire were divided by war and religion.",
    "Translate this sentence into French, and then make it more polite: I want my money back today.",
    "Summarise the text below in two sentences for a reader who knows nothing about the subject.",
    "A ball of mass 2 kg is thrown at 15 m/s at an angle of 30 degrees. How high does it rise, and why?",
    "Calculate the pH of a 0.1 M solution of a weak acid whose dissociation constant is 1.8 x 10^-5 at 25 C.",
    "All birds can fly. Some animals are birds. Does it follow that some animals can fly? True, False or unknown.",
    "Who was the first person to climb the mountain, and in which year did he or she do it?",
    "The woman poured the water into the glass because she was thirsty. Choose the most likely ending.",
    "Give me advice: my friend is moving to another city and I do not know how to tell her how I feel.",
    "The plaintiff sued the owner of the land for damages. If the court rules for the defendant, it will be because",
    "Plan a trip of five days with a family of four, with museums, good food and a small budget.",
    "Compare the views of two philosophers on whether an action is morally wrong in itself.",
    "Classify the sentiment of this review as positive or negative: the film was long, but I enjoyed the music.",
    "What are the advantages and disadvantages of working from home for a company and for its employees?",
)
