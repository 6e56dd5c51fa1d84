"""Texts that belong to hardly any label: questions and remarks of every day, other languages, no language at all."""

EVERYDAY = tuple(
    """
How many legs does a spider have?
The kettle has been boiling for ten minutes.
Which river runs through Budapest?
My left shoe is wet again.
Could you sing the second verse once more?
It takes three eggs and a little patience.
Why do cats purr?
The moon was behind the clouds all night.
He folded the map and put it under the seat.
What rhymes with orange?
Grandmother planted the pear tree before the war.
Is it Tuesday or Wednesday in Tokyo now?
The choir rehearses in the old mill.
A triangle has three sides and no mercy.
How do I get chewing gum out of a carpet?
They painted the boat green in the end.
Nobody has seen the hedgehog since Sunday.
What is the tallest mountain in Wales?
The train stopped in a tunnel and the lights went out.
I dreamt that I could read the wallpaper.
Please hold the ladder while I look for the ball.
How long do tortoises live?
The violin needs a new string before the concert.
There is sand in my pockets from last summer.
Who painted the ceiling of the chapel?
The frost came early and took the tomatoes.
Turn the dough twice and let it rest.
When were the first Olympic games?
Her brother collects stamps with lighthouses on them.
The goalkeeper slipped on the wet grass.
Can penguins taste sweet things?
We walked along the canal until it got dark.
The recipe says to whisk until stiff.
What does the word serendipity mean?
A heron stood in the shallow water all morning.
Add a pinch of nutmeg and stir.
Which planet has the most moons?
The lecture on medieval bridges was sold out.
My neighbour plays the trombone at dawn.
How many strings does a harp have?
Es regnet seit gestern, und der Hund will trotzdem hinaus.
Wo haben Sie diese wunderbaren Kirschen gekauft?
La bibliothèque ferme à six heures le samedi.
Où est passé mon parapluie ?
El gato duerme sobre el tejado del vecino.
¿Cuántas estrellas se ven desde aquí?
Il treno per Bologna parte dal terzo binario.
De fiets staat achter het huis onder het afdak.
Kaffet är slut och mjölken har surnat.
A macska az ablakban ül és nézi a havat.
O barco volta ao porto antes da tempestade.
Kissa nukkuu uunin vieressä.
asdf jkl asdf jkl qwer uiop
xq zvw plk mnrt bbq
la la la la la la
one two three four five six seven
lorem ipsum dolor sit amet consectetur adipiscing elit
blorptang wimzle grafnet oo
zzzzz
?!
""".strip().splitlines()
)
